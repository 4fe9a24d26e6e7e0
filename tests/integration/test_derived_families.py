"""Each text-to-image pipeline of the installed diffusers draws, or cannot be used for a reason.

A plain pipeline has the scheduler in the model's files, too, so that both take the same steps. Pipelines with a row in
the table of families have their own tests.
"""

from __future__ import annotations

import inspect
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from imagegen.engine.engine import EngineResult
from imagegen.engine.families.derived import VERBATIM_ARGUMENTS
from imagegen.engine.families.registry import get_model_family
from imagegen.engine.models.loading import load_pipeline
from imagegen.errors import InvalidRequest
from imagegen.library.families import LORA_FAMILIES, find_family, get_family
from imagegen.library.family_facts import FAMILIES
from imagegen.library.pipeline_signatures import find_pipeline_files
from imagegen.schema.events import Cancelled, Progress
from imagegen.schema.models import UNKNOWN_ARCHITECTURE, AdapterSource
from imagegen.schema.sizes import Size
from imagegen.schema.tasks import TaskName
from tests.hub.loras import diffusers_lora
from tests.hub.tiny import TINY_DERIVED
from tests.integration.engine_harness import EngineHarness, get_final_image, new_control, run_until_cancelled

# Those that make pictures of different prompts one job at a time, and those whose noise cannot be varied.
ONE_PROMPT = ("QwenImage21Pipeline",)
NO_VARIATION = ("ErnieImagePipeline",)
# Those that diffusers' own code draws pictures of pictures with in bfloat16 only.
ONLY_BFLOAT16 = ("ZImageOmniPipeline",)
EVERY_CLASS = pytest.mark.parametrize("name", TINY_DERIVED)


def fields(harness: EngineHarness, name: str, **changes: Any) -> dict[str, Any]:
    """Returns the fields of a request with guidance and a negative prompt, where the model has any."""
    can = harness.model(name)[0].can
    usual: dict[str, Any] = {"steps": 2}
    usual |= {"negative_prompt": "blurry"} if can.negative_prompt else {}
    return usual | ({"guidance_scale": 3.0} if can.supports("guidance") else {}) | changes


def draw(harness: EngineHarness, name: str, **changes: Any) -> list[Image.Image]:
    *_, last = harness.run(harness.make_inputs(name, **fields(harness, name, **changes)))
    assert isinstance(last, EngineResult)
    return last.images


def difference(first: Image.Image, second: Image.Image) -> int:
    """Returns the largest difference of all pixels, in steps of 1/255."""
    return int(np.abs(np.asarray(first, np.int16) - np.asarray(second, np.int16)).max())


def test_each_class_draws_or_has_a_reason_not_to() -> None:
    usable = {name for name in find_pipeline_files() if find_family(name) is not None}
    assert usable - FAMILIES.keys() == TINY_DERIVED.keys()


def draw_plainly(
    harness: EngineHarness,
    name: str,
    task: TaskName,
    size: Size,
    steps: int,
    lora: AdapterSource | None = None,
    **images: Any,
) -> Any:
    """Returns the picture of diffusers' own pipeline, with the scheduler in the model's files."""
    family = get_model_family(name)
    pipeline: Any = load_pipeline(harness.model(name)[1], torch.float32)
    pipeline_class = family.choose_pipeline_class(pipeline, task)
    assert pipeline_class is not None
    pipeline = pipeline_class.from_pipe(pipeline)
    pipeline.set_progress_bar_config(disable=True)
    if lora is not None:
        pipeline.load_lora_weights(str(lora.path.parent), weight_name=lora.path.name, adapter_name="it")
        pipeline.set_adapters(["it"], [lora.weight])
    family.prepare_job(pipeline, size)
    accepted, can = inspect.signature(type(pipeline).__call__).parameters, harness.model(name)[0].can
    options = VERBATIM_ARGUMENTS | {
        "width": size[0],
        "height": size[1],
        "negative_prompt": "blurry" if can.negative_prompt else None,
        "use_resolution_binning": False,
        "max_sequence_length": family.facts.tokens,
    }
    with torch.no_grad():
        plain: Any = pipeline(
            prompt="a red circle",
            generator=[torch.Generator().manual_seed(1)],
            **family.build_step_arguments(pipeline, steps),
            **family.build_guidance_arguments(3.0 if can.supports("guidance") else 1.0),
            **{option: value for option, value in options.items() if option in accepted},
            **images,
        )
    return plain.images[0]


@EVERY_CLASS
def test_a_picture_is_that_of_the_plain_pipeline(harness: EngineHarness, name: str) -> None:
    size = (96, 64)
    (picture,) = draw(harness, name, width=size[0], height=size[1])
    assert picture.size == size and np.asarray(picture).std() > 10
    assert difference(picture, draw_plainly(harness, name, "text_to_image", size, steps=2)) <= 1


@pytest.mark.parametrize("name", LORA_FAMILIES)
def test_a_lora_does_what_diffusers_does_with_it(harness: EngineHarness, name: str) -> None:
    _, model = harness.model(name)
    diffusers_lora(model.path, harness.folder / "loras" / f"{name}.safetensors")
    lora = harness.loras.get_source(name, 0.7)
    assert lora.architecture in (get_family(name).architecture, UNKNOWN_ARCHITECTURE)
    *_, last = harness.run(harness.make_inputs(name, [lora], **fields(harness, name)))
    (picture,) = last.images  # type: ignore[union-attr]
    assert difference(picture, draw_plainly(harness, name, "text_to_image", (64, 64), 2, lora)) <= 1
    assert difference(picture, draw(harness, name)[0]) > 8


@pytest.mark.parametrize("name", [name for name in TINY_DERIVED if get_family(name).image_to_image])
def test_so_is_a_picture_of_a_picture(harness: EngineHarness, name: str) -> None:
    size, start = (64, 64), Image.radial_gradient("L").convert("RGB").resize((64, 64))
    (picture,) = draw(harness, name, start=start, steps=4)
    assert picture.size == size
    if name not in ONLY_BFLOAT16:
        images: dict[str, Any] = {"image": start}
        images |= {"image": [start], "strength": 0.6} if get_family(name).strength else {}
        assert difference(picture, draw_plainly(harness, name, "image_to_image", size, 4, **images)) <= 1
    assert difference(picture, draw(harness, name, start=Image.new("RGB", size, "navy"), steps=4)[0]) > 2


def test_a_start_image_has_an_effect_at_any_strength(harness: EngineHarness) -> None:
    """The pipeline knows the timestep between two steps only without a start image."""
    start = Image.new("RGB", (64, 64), "navy")
    pictures = [draw(harness, "SanaSprintPipeline", start=start, strength=strength)[0] for strength in (0.1, 0.5, 1.0)]
    assert difference(*pictures[:2]) > 5 and difference(*pictures[1:]) > 5


@EVERY_CLASS
def test_jobs_share_passes_and_each_gets_its_own_picture(harness: EngineHarness, name: str) -> None:
    first, second = (fields(harness, name, seed=seed, prompt="a red circle") for seed in (1, 2))
    alone = [draw(harness, name, **job)[0] for job in (first, second)]
    assert difference(*alone) > 5
    timer = harness.engine.pass_timer
    passes = timer.passes
    together = harness.run_concurrently(harness.make_inputs(name, **first), harness.make_inputs(name, **second))
    shared = timer.passes - passes
    passes = timer.passes
    draw(harness, name, **first)
    own = timer.passes - passes
    assert shared < 2 * own and (shared == own) is harness.model(name)[0].can.shared_passes
    for events, picture in zip(together, alone, strict=True):
        assert difference(get_final_image(events), picture) <= 1


@EVERY_CLASS
def test_several_pictures_and_prompts_are_those_of_jobs_of_their_own(harness: EngineHarness, name: str) -> None:
    other = "a big blue photo of a dog"
    alone = [draw(harness, name)[0], draw(harness, name, seed=2)[0]]
    batch = draw(harness, name, batch_size=2)
    assert [difference(*pair) <= 1 for pair in zip(batch, alone, strict=True)] == [True, True]
    if name in ONE_PROMPT:
        with pytest.raises(InvalidRequest, match="more_prompts: must be left out"):
            draw(harness, name, more_prompts=(other,))
        return
    alone[1] = draw(harness, name, seed=2, prompt=other)[0]
    prompts = draw(harness, name, more_prompts=(other,))
    assert [difference(*pair) <= 1 for pair in zip(prompts, alone, strict=True)] == [True, True]


@EVERY_CLASS
def test_each_step_is_seen_and_a_job_can_be_ended(harness: EngineHarness, name: str) -> None:
    control = new_control()
    control.wants_previews.set()
    *steps, last = harness.run(harness.make_inputs(name, **fields(harness, name)), control)
    seen = [(event.step, event.steps, bool(event.preview)) for event in steps if isinstance(event, Progress)]
    assert seen == [(1, 2, True), (2, 2, False)] and isinstance(last, EngineResult)
    many = harness.make_inputs(name, **fields(harness, name, steps=8))
    assert isinstance(run_until_cancelled(harness.engine, many)[-1], Cancelled)

    control, passes = new_control(), harness.engine.pass_timer.passes
    control.finish_requested.set()
    *_, ended = harness.run(many, control)
    assert isinstance(ended, EngineResult) and ended.receipts[0].unfinished_at_step == 1
    assert harness.engine.pass_timer.passes - passes <= 3  # One step has at most two, and one decodes the picture.


@EVERY_CLASS
def test_a_variation_changes_the_picture_or_is_refused(harness: EngineHarness, name: str) -> None:
    varied = {"variation_strength": 0.5, "variation_seed": 7}
    if name in NO_VARIATION:
        with pytest.raises(InvalidRequest, match="variation_strength: must be 0"):
            draw(harness, name, **varied)
    else:
        assert difference(draw(harness, name, **varied)[0], draw(harness, name)[0]) > 5


def test_the_names_are_those_of_classes_of_diffusers() -> None:
    assert all(getattr(diffusers, name).__name__ == name for name in TINY_DERIVED)
