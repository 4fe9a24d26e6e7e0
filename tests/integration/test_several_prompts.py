"""Several prompts in one request are one batch, and each picture equals that of its prompt alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from imagegen.engine.engine import EngineResult
from imagegen.errors import InvalidRequest
from imagegen.schema.events import Progress
from imagegen.schema.request import INPUT_IMAGES
from tests.hub.tiny import TINY
from tests.integration.engine_harness import EngineHarness

# Of different lengths: padding in a batch must not change any picture.
PROMPTS = ("a red circle", "a blue house in the snow at night, beside a tall green tree", "a cat")
LONG = "a lake, " * 60
START = Image.fromarray(np.linspace(0, 255, 80 * 100 * 3).reshape(80, 100, 3).astype(np.uint8))


def finished(bench: EngineHarness, name: str, **fields: Any) -> EngineResult:
    *_, last = bench.run(bench.make_inputs(name, **fields))
    assert isinstance(last, EngineResult)
    return last


def farthest(first: Image.Image, second: Image.Image) -> int:
    """Returns the largest difference of a pixel, in steps of 1/255."""
    return int(np.abs(np.asarray(first, np.int16) - np.asarray(second, np.int16)).max())


def check_each_is_its_own(bench: EngineHarness, name: str, **fields: Any) -> EngineResult:
    """Each picture equals the one that its receipt gives as a request."""
    together = finished(bench, name, **fields)
    receipts = together.receipts
    assert [receipt.seed for receipt in receipts] == list(range(1, len(receipts) + 1))
    for image, receipt in zip(together.images, receipts, strict=True):
        again = receipt.to_request_fields()
        request_fields = {key: value for key, value in again.items() if key not in ("model", *INPUT_IMAGES)}
        alone = finished(bench, name, **request_fields, start=fields.get("start"), mask=fields.get("mask"))
        assert alone.receipts == [receipt]
        assert farthest(image, alone.images[0]) <= 1
    return together


@pytest.mark.parametrize("name", TINY)
def test_each_prompt_gives_the_picture_that_it_gives_alone(harness: EngineHarness, name: str) -> None:
    together = check_each_is_its_own(harness, name, prompt=PROMPTS[0], more_prompts=PROMPTS[1:])
    assert [receipt.prompt for receipt in together.receipts] == list(PROMPTS)


@pytest.mark.parametrize("name", TINY)
def test_each_prompt_gives_the_requested_number_of_pictures(harness: EngineHarness, name: str) -> None:
    together = check_each_is_its_own(harness, name, prompt=PROMPTS[0], more_prompts=PROMPTS[1:2], batch_size=2)
    assert [receipt.prompt for receipt in together.receipts] == [PROMPTS[0]] * 2 + [PROMPTS[1]] * 2


@pytest.mark.parametrize("name", [name for name in TINY if name != "tiny-sana"])
def test_all_of_them_start_from_the_same_picture(harness: EngineHarness, name: str) -> None:
    check_each_is_its_own(harness, name, prompt=PROMPTS[0], more_prompts=PROMPTS[1:], start=START)


@pytest.mark.parametrize("name", ["tiny-sd15", "tiny-sdxl", "tiny-sd3", "tiny-z-image", "tiny-qwen-image", "tiny-sana"])
def test_the_negative_prompt_applies_to_each(harness: EngineHarness, name: str) -> None:
    fields = {"negative_prompt": "text, blurry, grey", "guidance_scale": 5.0}
    together = check_each_is_its_own(harness, name, prompt=PROMPTS[0], more_prompts=PROMPTS[1:], **fields)
    assert farthest(together.images[0], finished(harness, name, prompt=PROMPTS[0], guidance_scale=5.0).images[0]) > 1


@pytest.mark.parametrize("name", ["tiny-sd15", "tiny-sdxl"])
@pytest.mark.parametrize("prompts", [(LONG, "a (red:1.4) circle"), ("a (red:1.4) circle", LONG)])
def test_long_ones_and_short_ones_go_together(harness: EngineHarness, name: str, prompts: tuple[str, str]) -> None:
    check_each_is_its_own(harness, name, prompt=prompts[0], more_prompts=prompts[1:], sampler="Euler a")


def test_they_have_one_stream_of_progress(harness: EngineHarness) -> None:
    events = harness.run(harness.make_inputs("tiny-sd15", prompt=PROMPTS[0], more_prompts=PROMPTS[1:], steps=4))
    assert [event.step for event in events if isinstance(event, Progress)] == [1, 2, 3, 4]


def test_a_prompt_beyond_the_token_limit_is_refused_by_its_place(harness: EngineHarness) -> None:
    with pytest.raises(InvalidRequest, match=r"more_prompts\[1\]: is .* tokens long, and tiny-sana accepts 300"):
        finished(harness, "tiny-sana", more_prompts=["a cat", "red circle " * 330])
