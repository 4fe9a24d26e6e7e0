"""Every architecture generates by text, and by picture where it can; each shows how it gets on, and can be stopped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from imagegen.engine.engine import Finished
from imagegen.errors import InvalidRequest
from imagegen.schema import Cancelled, Progress
from tests.hub.tiny import TINY
from tests.integration.tiny import Bench, unwatched

START = Image.fromarray(np.linspace(0, 255, 80 * 100 * 3).reshape(80, 100, 3).astype(np.uint8))


@pytest.mark.parametrize("name", TINY)
def test_it_paints_what_the_seed_and_the_prompt_say(bench: Bench, name: str) -> None:
    first, again = bench.picture(name, seed=1), bench.picture(name, seed=1)
    assert first.size == (64, 64)
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != bench.picture(name, seed=2).tobytes()
    assert first.tobytes() != bench.picture(name, seed=1, prompt="a blue square").tobytes()


@pytest.mark.parametrize("name", TINY)
def test_a_watcher_sees_each_step_and_a_picture_that_forms(bench: Bench, name: str) -> None:
    control = unwatched()
    control.previews.set()
    steps = [event for event in bench.events(bench.work(name, steps=4), control) if isinstance(event, Progress)]
    assert [(step.step, step.steps) for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert steps[0].preview is not None


@pytest.mark.parametrize("name", TINY)
def test_it_ends_at_the_next_step_when_it_is_cancelled(bench: Bench, name: str) -> None:
    control, seen = unwatched(), []
    for event in bench.engine.generate(bench.work(name, steps=50), control):
        seen.append(event)
        if isinstance(event, Progress):
            control.cancelled.set()
    assert isinstance(seen[-1], Cancelled)
    assert sum(isinstance(event, Progress) for event in seen) <= 2


@pytest.mark.parametrize("name", [name for name in TINY if name != "tiny-sana"])
def test_it_starts_from_a_picture(bench: Bench, name: str) -> None:
    *_, last = bench.events(bench.work(name, start=START, batch_size=2))
    assert isinstance(last, Finished)
    assert [image.size for image in last.images] == [(64, 64), (64, 64)]
    assert last.images[0].tobytes() != last.images[1].tobytes()


def test_a_receipt_says_which_model_it_was(bench: Bench) -> None:
    *_, last = bench.events(bench.work("tiny-sd21"))
    assert isinstance(last, Finished)
    assert last.receipts[0].model_id == "tiny-sd21"


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("tiny-flux-schnell", {"guidance_scale": 3.0}, "guidance_scale: must be 1 or left open"),
        ("tiny-flux-dev", {"negative_prompt": "text"}, "negative_prompt: cannot be used"),
        ("tiny-flux-dev", {"sampler": "DDIM"}, "sampler: must be one of Euler"),
        ("tiny-qwen-image", {"clip_skip": 1}, "clip_skip: cannot be used"),
        ("tiny-sana", {"width": 72}, "width: must be a multiple of 32"),
        ("tiny-sana", {"init_image": "0" * 64}, "init_image: cannot be used"),
        ("tiny-flux2-klein", {"init_image": "0" * 64, "strength": 0.5}, "strength: cannot be used"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(bench: Bench, name: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        bench.work(name, **fields)


def test_a_prompt_that_is_too_long_to_be_heard_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidRequest, match="prompt: is .* tokens long, and tiny-sana hears 300"):
        bench.picture("tiny-sana", prompt="red circle " * 330)
