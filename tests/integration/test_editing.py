"""Models that edit a picture as the prompt says: they get the start image beside the picture that they paint."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image, ImageOps

from imagegen.engine.models.loading import load_pipeline
from imagegen.engine.prompts.prompt_cache import PromptCache, cache_calls
from imagegen.engine.step_cache import StepCache
from imagegen.errors import InvalidRequest
from imagegen.schema.events import Cancelled, Progress
from imagegen.schema.models import UNKNOWN_ARCHITECTURE
from tests.hub.loras import diffusers_lora
from tests.hub.tiny import TINY_EDITING
from tests.integration.engine_harness import EngineHarness, get_final_image, new_control, run_until_cancelled
from tests.integration.test_batching import PassCounter, difference
from tests.integration.test_finish_early import run_and_finish
from tests.integration.test_several_prompts import check_each_is_its_own

EDITORS = ("tiny-flux-kontext", "tiny-flux2-klein", *TINY_EDITING)
# Twice the size of the pictures that the tests make of it, in the same shape.
START = Image.effect_noise((192, 128), 60).convert("RGB")
OTHER = Image.new("RGB", START.size, "navy")
FIELDS: dict[str, Any] = {"width": 96, "height": 64, "steps": 2}


def edit(harness: EngineHarness, name: str, start: Image.Image = START, **fields: Any) -> Image.Image:
    return get_final_image(harness.run(harness.make_inputs(name, start=start, **FIELDS | fields)))


@pytest.mark.parametrize("name", EDITORS)
def test_a_picture_is_that_of_diffusers(harness: EngineHarness, name: str) -> None:
    info, source = harness.model(name)
    pipeline: Any = load_pipeline(source, torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    arguments: dict[str, Any] = {"prompt": "a red circle", "width": 96, "height": 64, "num_inference_steps": 2}
    if info.can.negative_prompt:
        arguments |= {"negative_prompt": "", "true_cfg_scale": info.guidance_scale, "image": START}
    else:
        arguments |= {
            "guidance_scale": info.guidance_scale,
            "image": ImageOps.fit(START, (96, 64), Image.Resampling.LANCZOS),
        }
    if "kontext" in name:
        arguments |= {"max_area": 96 * 64, "_auto_resize": False}
    expected = pipeline(generator=torch.Generator().manual_seed(1), **arguments).images[0]
    found = edit(harness, name)
    assert found.size == expected.size == (96, 64)
    assert difference(found, expected) <= 1


@pytest.mark.parametrize("name", EDITORS)
def test_a_picture_depends_on_the_start_image_alone_with_the_same_prompt(harness: EngineHarness, name: str) -> None:
    first, other, again = (edit(harness, name, start) for start in (START, OTHER, START.copy()))
    assert difference(first, other) > 1
    assert first.tobytes() == again.tobytes()


@pytest.mark.parametrize("name", EDITORS)
def test_edits_of_different_pictures_share_passes(harness: EngineHarness, name: str) -> None:
    job_inputs = [
        harness.make_inputs(name, start=start, seed=seed, **FIELDS | {"steps": 3})
        for seed, start in enumerate((START, OTHER), 1)
    ]
    solo = PassCounter(harness.engine.pass_timer)
    expected = [get_final_image(harness.run(inputs)) for inputs in job_inputs]
    alone, shared = solo.count, PassCounter(harness.engine.pass_timer)
    found = [get_final_image(events) for events in harness.run_concurrently(*job_inputs)]
    assert max(difference(*pair) for pair in zip(expected, found, strict=True)) <= 1
    assert shared.count < 0.75 * alone


@pytest.mark.parametrize("name", TINY_EDITING)
def test_each_prompt_gives_the_edit_that_it_gives_alone(harness: EngineHarness, name: str) -> None:
    prompts = {"prompt": "a red circle", "more_prompts": ["a blue house in the snow at night"]}
    together = check_each_is_its_own(harness, name, start=START, negative_prompt="a tree", **prompts, **FIELDS)
    assert difference(*together.images) > 1


@pytest.mark.parametrize("name", TINY_EDITING)
def test_an_edit_has_steps_previews_and_an_early_end(harness: EngineHarness, name: str) -> None:
    inputs = harness.make_inputs(name, start=START, **FIELDS | {"steps": 4})
    control = new_control()
    control.wants_previews.set()
    steps = [event for event in harness.run(inputs, control) if isinstance(event, Progress)]
    assert [(step.step, step.steps) for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert steps[0].preview is not None
    steps, result = run_and_finish(harness.engine, inputs, at_step=2)
    assert result.receipts[0].unfinished_at_step == steps[-1].step < 4
    assert result.images[0].size == (96, 64)
    assert isinstance(run_until_cancelled(harness.engine, inputs)[-1], Cancelled)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "init_image: is required with the model"),
        ({"init_image": "0" * 64, "strength": 0.5}, "strength: cannot be used with the model"),
        ({"init_image": "0" * 64, "mask_image": "0" * 64}, "mask_image: cannot be used with the model"),
        ({"init_image": "0" * 64, "hires_scale": 2}, "hires_scale: cannot be used with the model"),
    ],
)
@pytest.mark.parametrize("name", TINY_EDITING)
def test_what_an_editor_cannot_do_is_refused_by_name(
    harness: EngineHarness, name: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        harness.make_inputs(name, **fields)


def test_an_editor_takes_the_loras_of_its_family(harness: EngineHarness) -> None:
    architectures = {name: harness.model(name)[0].architecture for name in EDITORS}
    assert architectures == {
        "tiny-flux-kontext": "FLUX.1",
        "tiny-flux2-klein": "FLUX.2 klein",
        "tiny-qwen-image-edit": "Qwen-Image",
        "tiny-qwen-image-edit-plus": "Qwen-Image",
    }


@pytest.mark.parametrize(
    ("name", "base"), [("tiny-flux-kontext", "tiny-flux-dev"), ("tiny-qwen-image-edit", "tiny-qwen-image")]
)
def test_a_lora_for_the_family_changes_an_edit(harness: EngineHarness, name: str, base: str) -> None:
    diffusers_lora(harness.model(base)[1].path, harness.folder / "loras" / f"{base}-edit.safetensors")
    lora = harness.loras.get_source(f"{base}-edit", 1.0)
    assert lora.architecture in (harness.model(name)[0].architecture, UNKNOWN_ARCHITECTURE)
    inputs = harness.make_inputs(name, [lora], start=START, **FIELDS)
    assert difference(get_final_image(harness.run(inputs)), edit(harness, name)) > 3


def test_a_prompt_is_encoded_once_for_each_picture() -> None:
    calls: list[Image.Image] = []

    def encode(prompt: str, image: list[Image.Image]) -> int:
        calls.extend(image)
        return len(calls)

    cached = cache_calls(encode, PromptCache[int](4), ())
    assert [cached("a", image=[each]) for each in (START, OTHER, START.copy())] == [1, 2, 1]
    assert cached("b", image=[START]) == 3


def test_step_caching_looks_at_the_tokens_of_the_picture_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    steps = [torch.randn(1, 4, 8, generator=generator).lerp(torch.ones(1, 4, 8), step / 8) for step in range(8)]
    looked_at = torch.randn(1, 6, 8, generator=generator)
    predicted = []
    for extra in (0, 6):
        predictor = StepCache(10.0, tokens=4).next_predictor()
        for step in steps:
            x = torch.cat([step, looked_at[:, :extra]], dim=1)
            output = predictor.predict(x)
            if output is None:
                noise = 100 * torch.randn(1, extra, 8, generator=generator)
                predictor.update(x, (torch.cat([step * 2, noise], dim=1),))
        assert output is not None
        predicted.append(output[0])
    first, second = predicted
    assert torch.allclose(first, second)
