"""Every family generates from text, and from a picture if it can; each reports progress and can be cancelled."""

from __future__ import annotations

import json
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinPipeline
from PIL import Image

from imagegen.engine.engine import EngineResult
from imagegen.errors import InvalidRequest
from imagegen.schema.events import Cancelled, Progress
from tests.hub.tiny import TINY
from tests.integration.engine_harness import EngineHarness, new_control, run_until_cancelled
from tests.integration.test_batching import difference

START = Image.fromarray(np.linspace(0, 255, 80 * 100 * 3).reshape(80, 100, 3).astype(np.uint8))


@pytest.mark.parametrize("name", TINY)
def test_it_follows_seed_and_prompt(harness: EngineHarness, name: str) -> None:
    first, again = harness.generate_image(name, seed=1), harness.generate_image(name, seed=1)
    assert first.size == (64, 64)
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != harness.generate_image(name, seed=2).tobytes()
    assert first.tobytes() != harness.generate_image(name, seed=1, prompt="a blue square").tobytes()


@pytest.mark.parametrize("name", TINY)
def test_a_viewer_sees_each_step_and_previews(harness: EngineHarness, name: str) -> None:
    control = new_control()
    control.wants_previews.set()
    steps = [event for event in harness.run(harness.make_inputs(name, steps=4), control) if isinstance(event, Progress)]
    assert [(step.step, step.steps) for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert steps[0].preview is not None


@pytest.mark.parametrize("name", TINY)
def test_it_ends_at_the_next_step_when_it_is_cancelled(harness: EngineHarness, name: str) -> None:
    harness.run(harness.make_inputs(name, steps=1))  # Loads the model, so that the first event is the first step.
    first, *others, last = run_until_cancelled(harness.engine, harness.make_inputs(name, steps=50))
    assert isinstance(first, Progress) and isinstance(last, Cancelled)
    assert len(others) <= 1


@pytest.mark.parametrize("name", TINY)
def test_one_step_makes_a_picture_with_each_sampler(harness: EngineHarness, name: str) -> None:
    for sampler in harness.model(name)[0].can.samplers:
        assert harness.generate_image(name, steps=1, sampler=sampler).size == (64, 64)


@pytest.mark.parametrize("name", [name for name in TINY if name != "tiny-sana"])
def test_it_starts_from_a_picture(harness: EngineHarness, name: str) -> None:
    *_, last = harness.run(harness.make_inputs(name, start=START, batch_size=2))
    assert isinstance(last, EngineResult)
    assert [image.size for image in last.images] == [(64, 64), (64, 64)]
    assert last.images[0].tobytes() != last.images[1].tobytes()


def test_a_receipt_names_the_model(harness: EngineHarness) -> None:
    *_, last = harness.run(harness.make_inputs("tiny-sd21"))
    assert isinstance(last, EngineResult)
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
def test_what_it_cannot_do_is_refused_by_name(
    harness: EngineHarness, name: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        harness.make_inputs(name, **fields)


def test_a_prompt_beyond_the_token_limit_is_refused(harness: EngineHarness) -> None:
    with pytest.raises(InvalidRequest, match="prompt: is .* tokens long, and tiny-sana accepts 300"):
        harness.generate_image("tiny-sana", prompt="red circle " * 330)


def test_a_klein_that_was_not_distilled_is_guided_as_in_diffusers(harness: EngineHarness) -> None:
    folder = harness.folder / "klein-base"
    shutil.copytree(harness.model("tiny-flux2-klein")[1].path, folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"is_distilled": False}))
    pipeline = Flux2KleinPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(1)
    arguments = {"prompt": "a red circle", "num_inference_steps": 3, "guidance_scale": 4.0, "generator": generator}
    expected = pipeline(**arguments, width=64, height=64).images[0]
    assert difference(harness.generate_image("klein-base"), expected) <= 1
    assert difference(harness.generate_image("klein-base", guidance_scale=1.0), expected) > 1
