"""Several prompts in one request are one batch, and each picture is that of its prompt alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from imagegen.engine.engine import Finished
from imagegen.errors import InvalidRequest
from imagegen.schema import Progress
from tests.hub.tiny import TINY
from tests.integration.tiny import Bench

# Of different lengths: where a batch is filled up, nothing may be heard of that.
PROMPTS = ("a red circle", "a blue house in the snow at night, beside a tall green tree", "a cat")
LONG = "a lake, " * 60
START = Image.fromarray(np.linspace(0, 255, 80 * 100 * 3).reshape(80, 100, 3).astype(np.uint8))
# What a receipt tells beside the request.
TOLD = {"model_id", "model_revision", "quantization", "device", "dtype", "versions", "cached"}


def finished(bench: Bench, name: str, **fields: Any) -> Finished:
    *_, last = bench.events(bench.work(name, **fields))
    assert isinstance(last, Finished)
    return last


def farthest(first: Image.Image, second: Image.Image) -> int:
    """In steps of 1/255, the pixel that differs most."""
    return int(np.abs(np.asarray(first, np.int16) - np.asarray(second, np.int16)).max())


def check_each_is_its_own(bench: Bench, name: str, **fields: Any) -> Finished:
    """Each picture is the one that its receipt gives as a request of its own."""
    together = finished(bench, name, **fields)
    receipts = together.receipts
    assert [receipt.seed for receipt in receipts] == list(range(1, len(receipts) + 1))
    for image, receipt in zip(together.images, receipts, strict=True):
        told = receipt.model_dump(exclude=TOLD | {"init_image", "loras", "embeddings"})
        alone = finished(bench, name, **told, start=fields.get("start"))
        assert alone.receipts == [receipt]
        assert farthest(image, alone.images[0]) <= 1
    return together


@pytest.mark.parametrize("name", TINY)
def test_each_prompt_gives_the_picture_that_it_gives_alone(bench: Bench, name: str) -> None:
    together = check_each_is_its_own(bench, name, prompt=PROMPTS[0], more_prompts=PROMPTS[1:])
    assert [receipt.prompt for receipt in together.receipts] == list(PROMPTS)


@pytest.mark.parametrize("name", TINY)
def test_each_prompt_gives_as_many_pictures_as_asked_for(bench: Bench, name: str) -> None:
    together = check_each_is_its_own(bench, name, prompt=PROMPTS[0], more_prompts=PROMPTS[1:2], batch_size=2)
    assert [receipt.prompt for receipt in together.receipts] == [PROMPTS[0]] * 2 + [PROMPTS[1]] * 2


@pytest.mark.parametrize("name", [name for name in TINY if name != "tiny-sana"])
def test_all_of_them_start_from_the_same_picture(bench: Bench, name: str) -> None:
    check_each_is_its_own(bench, name, prompt=PROMPTS[0], more_prompts=PROMPTS[1:], start=START)


@pytest.mark.parametrize("name", ["tiny-sd15", "tiny-sdxl", "tiny-sd3", "tiny-z-image", "tiny-qwen-image", "tiny-sana"])
def test_each_is_kept_from_the_negative_prompt(bench: Bench, name: str) -> None:
    fields = {"negative_prompt": "text, blurry, grey", "guidance_scale": 5.0}
    together = check_each_is_its_own(bench, name, prompt=PROMPTS[0], more_prompts=PROMPTS[1:], **fields)
    assert farthest(together.images[0], finished(bench, name, prompt=PROMPTS[0], guidance_scale=5.0).images[0]) > 1


@pytest.mark.parametrize("name", ["tiny-sd15", "tiny-sdxl"])
@pytest.mark.parametrize("prompts", [(LONG, "a (red:1.4) circle"), ("a (red:1.4) circle", LONG)])
def test_long_ones_and_short_ones_go_together(bench: Bench, name: str, prompts: tuple[str, str]) -> None:
    check_each_is_its_own(bench, name, prompt=prompts[0], more_prompts=prompts[1:], sampler="Euler a")


def test_they_are_one_run_for_those_who_watch(bench: Bench) -> None:
    events = bench.events(bench.work("tiny-sd15", prompt=PROMPTS[0], more_prompts=PROMPTS[1:], steps=4))
    assert [event.step for event in events if isinstance(event, Progress)] == [1, 2, 3, 4]


def test_one_that_is_too_long_to_be_heard_is_refused_by_its_place(bench: Bench) -> None:
    with pytest.raises(InvalidRequest, match=r"more_prompts\[1\]: is .* tokens long, and tiny-sana hears 300"):
        finished(bench, "tiny-sana", more_prompts=["a cat", "red circle " * 330])
