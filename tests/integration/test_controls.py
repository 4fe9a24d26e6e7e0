"""ControlNets make pictures follow control maps, as diffusers' own pipelines do, in all tasks and in shared passes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionXLControlNetPipeline
from PIL import Image, ImageDraw

from imagegen.engine.engine import Engine, JobInputs
from imagegen.engine.samplers import create_scheduler
from imagegen.errors import InvalidRequest, ModelLoadFailed, ModelTooLarge
from imagegen.library.controlnets import ControlNetIndex
from imagegen.library.snapshots import Snapshots
from imagegen.library.weight_files import read_header
from imagegen.schema.adapter_fields import set_adapter_fields
from tests.hub.controlnets import save_controlnet, write_original
from tests.integration.engine_harness import ANY_IMAGE, EngineHarness, get_final_image, new_control, run_together
from tests.integration.test_batching import PassCounter, difference

START = Image.effect_noise((64, 64), 60).convert("RGB")
LINES = Image.new("RGB", (64, 64))
ImageDraw.Draw(LINES).rectangle((16, 16, 47, 47), outline="white", width=2)
PLAIN: dict[str, Any] = {"sampler": "Euler", "steps": 4, "guidance_scale": 4.0}
PIPELINES = {
    "tiny-sd15": StableDiffusionControlNetPipeline,
    "tiny-sd21": StableDiffusionControlNetPipeline,
    "tiny-sdxl": StableDiffusionXLControlNetPipeline,
}


def find_controlnets(harness: EngineHarness) -> ControlNetIndex:
    return ControlNetIndex("controlnet", (harness.folder / "controlnets",), Snapshots(harness.folder / "hub"))


def make_inputs(
    harness: EngineHarness, name: str, *controls: dict[str, Any], lines: Image.Image = LINES, **fields: Any
) -> JobInputs:
    """Returns the inputs of a job with controls; each is of the ControlNet of its number, and of the same lines."""
    index = find_controlnets(harness)
    info, _ = harness.model(name)
    sources = []
    for number, control in enumerate(controls):
        reference = f"{name}-{number}"
        if not (harness.folder / "controlnets" / reference).exists():
            save_controlnet(harness.folder / name, harness.folder / "controlnets" / reference, seed=number)
        sources.append(index.get_source(reference, control.get("weight", 1)))
    uses = [
        {"controlnet": each.id, "image": ANY_IMAGE} | control for each, control in zip(sources, controls, strict=True)
    ]
    inputs = harness.make_inputs(name, sources, controls=uses, **PLAIN | fields)
    images = {f"controls[{number}].image": lines for number in range(len(controls))}
    return JobInputs(
        set_adapter_fields(inputs.request, info, sources),
        inputs.model,
        sources,
        {**inputs.input_images, **images},
    )


def paint(harness: EngineHarness, name: str, *controls: dict[str, Any], **fields: Any) -> Image.Image:
    return get_final_image(harness.run(make_inputs(harness, name, *controls, **fields)))


@pytest.mark.parametrize(
    ("name", "controls"),
    [
        ("tiny-sd15", [{"weight": 0.6, "start": 0.25, "end": 0.75}]),
        ("tiny-sd21", [{}]),
        ("tiny-sdxl", [{}, {"weight": 0.5}]),
    ],
)
def test_pictures_are_those_of_diffusers(harness: EngineHarness, name: str, controls: list[dict[str, Any]]) -> None:
    found = paint(harness, name, *controls)
    folder = harness.folder
    networks = [ControlNetModel.from_pretrained(folder / "controlnets" / f"{name}-{n}") for n in range(len(controls))]
    pipeline = PIPELINES[name].from_pretrained(
        folder / name, controlnet=networks, dtype=torch.float32, safety_checker=None
    )
    pipeline.scheduler = create_scheduler("Euler", pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        "a red circle",
        image=[LINES] * len(controls),
        width=64,
        height=64,
        num_inference_steps=PLAIN["steps"],
        guidance_scale=PLAIN["guidance_scale"],
        generator=torch.Generator("cpu").manual_seed(1),
        controlnet_conditioning_scale=[control.get("weight", 1.0) for control in controls],
        control_guidance_start=[control.get("start", 0.0) for control in controls],
        control_guidance_end=[control.get("end", 1.0) for control in controls],
    ).images[0]
    assert difference(found, expected) <= 1
    assert difference(found, paint(harness, name)) > 20


def test_a_weight_of_0_and_each_mode(harness: EngineHarness) -> None:
    without = paint(harness, "tiny-sd15")
    assert paint(harness, "tiny-sd15", {"weight": 0.0}).tobytes() == without.tobytes()
    modes = [paint(harness, "tiny-sd15", {"mode": mode}) for mode in ("balanced", "prompt", "control")]
    assert len({image.tobytes() for image in (without, *modes)}) == 4


def test_a_preprocessor_makes_the_map(harness: EngineHarness) -> None:
    filled = Image.new("RGB", (64, 64))
    ImageDraw.Draw(filled).rectangle((16, 16, 47, 47), fill="white")
    by_canny = paint(harness, "tiny-sd15", {"preprocessor": "canny"}, lines=filled)
    assert by_canny.tobytes() != paint(harness, "tiny-sd15", {}, lines=filled).tobytes()
    inverted = paint(
        harness, "tiny-sd15", {"preprocessor": "invert"}, lines=Image.eval(LINES, lambda value: 255 - value)
    )
    assert inverted.tobytes() == paint(harness, "tiny-sd15", {}).tobytes()


MASK = Image.new("L", (64, 64))
ImageDraw.Draw(MASK).rectangle((20, 24, 43, 39), fill=255)
TASKS: dict[str, dict[str, Any]] = {
    "image to image": {"start": START, "strength": 0.8},
    "inpainting": {"start": START, "mask": MASK, "strength": 1},
    "masked part": {"start": START, "mask": MASK, "strength": 1, "mask_area": "masked", "mask_padding": 4},
    "outpainting": {"start": START, "extend_right": 32, "width": 96, "height": 64},
    "hires": {"hires_scale": 1.5},
}


@pytest.mark.parametrize("task", TASKS)
def test_each_task_is_controlled(harness: EngineHarness, task: str) -> None:
    fields = TASKS[task]
    assert difference(paint(harness, "tiny-sd15", {}, **fields), paint(harness, "tiny-sd15", **fields)) > 20


def test_a_model_that_only_inpaints_is_controlled(harness: EngineHarness) -> None:
    fields = TASKS["inpainting"]
    harness.model("tiny-sd15")
    save_controlnet(harness.folder / "tiny-sd15", harness.folder / "controlnets" / "tiny-sd15-inpainting-0")
    found = paint(harness, "tiny-sd15-inpainting", {}, **fields)
    assert difference(found, paint(harness, "tiny-sd15-inpainting", **fields)) > 20


@pytest.mark.parametrize("name", ["tiny-sd15", "tiny-sdxl"])
def test_jobs_with_and_without_controls_share_passes(harness: EngineHarness, name: str) -> None:
    job_inputs = [
        make_inputs(harness, name, {}, seed=1),
        make_inputs(harness, name, seed=2),
        make_inputs(harness, name, {"weight": 0.5, "end": 0.5}, seed=3, lines=START),
        make_inputs(harness, name, {}, {"mode": "control"}, seed=4),
    ]
    solo = PassCounter(harness.engine.pass_timer)
    expected = [get_final_image(harness.run(inputs)) for inputs in job_inputs]
    alone = solo.count
    shared = PassCounter(harness.engine.pass_timer)
    found = [get_final_image(events) for events in harness.run_concurrently(*job_inputs)]
    assert max(difference(*pair) for pair in zip(expected, found, strict=True)) <= 1
    # Each step takes a pass of the denoiser, and one of the ControlNet for each of the last job's two controls.
    assert shared.count < alone * 0.6


def test_a_receipt_names_the_controlnet(harness: EngineHarness) -> None:
    inputs = make_inputs(harness, "tiny-sd15", {"weight": 0.5, "preprocessor": "canny"})
    *_, result = harness.run(inputs)
    (control,) = result.receipts[0].controls  # type: ignore[union-attr]
    assert control.sha256 == inputs.adapters[0].sha256
    assert (control.controlnet, control.weight, control.preprocessor) == ("tiny-sd15-0", 0.5, "canny")
    fields = result.receipts[0].to_request_fields()  # type: ignore[union-attr]
    assert fields["controls"] == [use.model_dump() for use in inputs.request.controls]


def test_a_controlnet_for_another_architecture_is_refused_by_name(harness: EngineHarness) -> None:
    make_inputs(harness, "tiny-sdxl", {})
    info, _ = harness.model("tiny-sd15")
    source = find_controlnets(harness).get_source("tiny-sdxl-0")
    request = make_inputs(harness, "tiny-sd15", {}).request
    with pytest.raises(InvalidRequest, match="was made for") as caught:
        set_adapter_fields(request, info, [source])
    assert caught.value.field == "controls[0].controlnet"


def test_a_file_in_the_original_format_is_the_same_controlnet(harness: EngineHarness) -> None:
    inputs = make_inputs(harness, "tiny-sd15", {})
    folders = harness.folder / "controlnets"
    write_original(folders / "tiny-sd15-0", folders / "original" / "control.safetensors")
    source = find_controlnets(harness).get_source("original")
    found = get_final_image(harness.run(replace(inputs, adapters=[source])))
    assert difference(found, get_final_image(harness.run(inputs))) <= 1
    more = {"control_model.more.weight": torch.ones(1)}
    write_original(folders / "tiny-sd15-0", folders / "more" / "control.safetensors", **more)
    source = find_controlnets(harness).get_source("more")
    with pytest.raises(ModelLoadFailed, match="its tensor control_model.more.weight has no place"):
        harness.run(replace(inputs, adapters=[source]))


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        (("block_out_channels", [16, 16, 16, 16]), "another shape"),
        (("cross_attention_dim", 1024), "another shape"),
        (("_class_name", "SD3ControlNetModel"), "says SD3ControlNetModel instead of ControlNetModel"),
    ],
    ids=str,
)
def test_a_controlnet_that_is_not_what_it_says_ends_its_job_alone(
    harness: EngineHarness, setting: tuple[str, Any], problem: str
) -> None:
    inputs = make_inputs(harness, "tiny-sd15", {})
    harness.engine.release("tiny-sd15-0")
    original = harness.folder / "controlnets" / "tiny-sd15-0"
    other = harness.folder / "controlnets" / "other"
    shutil.copytree(original, other, dirs_exist_ok=True)
    config = json.loads((original / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | dict([setting])))
    source = find_controlnets(harness).get_source("other")
    broken = JobInputs(inputs.request, inputs.model, [source], inputs.input_images)
    with pytest.raises(ModelLoadFailed, match=problem):
        harness.run(broken)
    assert np.asarray(get_final_image(harness.run(inputs))).std() > 0


def test_controlnets_count_as_memory_and_make_room_for_models(harness: EngineHarness) -> None:
    engine = Engine("cpu")
    inputs = make_inputs(harness, "tiny-sd15", {})
    get_final_image(list(engine.generate(inputs, new_control())))
    with_controlnet = engine.store.measure_usage()["cpu"]
    models = sum(model.size_bytes for model in engine.store.models.values())
    assert with_controlnet > models
    engine.store.budget = replace(engine.store.budget, memory_bytes=models * 1.1)
    with pytest.raises(ModelTooLarge):
        list(engine.generate(make_inputs(harness, "tiny-sd15", {}, {}), new_control()))
    engine.store.budget = replace(engine.store.budget, memory_bytes=models * 1.9)
    get_final_image(list(engine.generate(harness.make_inputs("tiny-sd21"), new_control())))
    assert engine.store.measure_usage()["cpu"] == sum(model.size_bytes for model in engine.store.models.values())


def test_controlnets_that_are_read_at_the_same_time_count_together(harness: EngineHarness) -> None:
    """Memory for one of two is no memory for both; jobs with the same one read it once."""
    engine = Engine("cpu")
    both = make_inputs(harness, "tiny-sd15", {}, {})
    first, second = (
        replace(
            both,
            request=both.request.model_copy(update={"controls": (use,)}),
            adapters=(source,),
            input_images={"controls[0].image": LINES},
        )
        for use, source in zip(both.request.controls, both.adapters, strict=True)
    )
    list(engine.generate(harness.make_inputs("tiny-sd15"), new_control()))
    model = engine.store.measure_usage()["cpu"]
    size = read_header(first.adapters[0].path).parameter_count * 4
    engine.store.budget = replace(engine.store.budget, memory_bytes=model + size * 1.5)
    run_together(engine, first, first)
    assert engine.store.measure_usage()["cpu"] == model + size
    engine.release(first.adapters[0].id)
    with pytest.raises(ModelTooLarge):
        run_together(engine, first, second)
    assert engine.store.measure_usage()["cpu"] <= model + size
