"""Parts that a detector finds are painted again, as by diffusers' own pipeline, and no other pixel changes."""

from __future__ import annotations

import base64
import json
import math
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

from imagegen.engine.engine import EngineResult, JobInputs
from imagegen.engine.inpainting import cover_latents, soften
from imagegen.engine.samplers import create_scheduler
from imagegen.errors import InvalidRequest, ModelLoadFailed
from imagegen.library.detectors import DetectorIndex
from imagegen.library.snapshots import Snapshots
from imagegen.schema.adapter_fields import set_adapter_fields
from imagegen.schema.events import Progress
from imagegen.schema.models import AdapterSource, UpscalerSource
from tests.hub.controlnets import save_controlnet
from tests.hub.detectors import Place, save_rt_detr, save_yolos
from tests.hub.tiny import TINY, TINY_INPAINTING
from tests.integration.engine_harness import ANY_IMAGE, EngineHarness, get_final_image, new_control, run_until_cancelled
from tests.integration.test_batching import PassCounter, difference
from tests.integration.test_controls import find_controlnets
from tests.integration.test_finish_early import run_and_finish
from tests.integration.test_inpainting import NO_INPAINTING
from tests.integration.test_references import find_sources
from tests.integration.test_vaes import find_vaes, get_vae_folder

# Where the detectors find objects: the boxes in a picture of 64 x 64 pixels are below.
LEFT: Place = (0.25, 0.25, 0.27, 0.27)
RIGHT: Place = (0.73, 0.7, 0.27, 0.27)
LEFT_BOX, RIGHT_BOX = (7, 7, 25, 25), (38, 36, 56, 54)
DETECTORS: dict[str, dict[str, Any]] = {
    "one": {"places": [LEFT]},
    "two": {"places": [RIGHT, LEFT]},
    "hands": {"places": [LEFT], "label": 1},
    "wandering": {"places": [LEFT, RIGHT], "wander": 40.0},
}
# Half of 8 steps are run.
FIELDS: dict[str, Any] = {"sampler": "Euler", "steps": 4, "detail_strength": 0.5, "detail_padding": 0}
# Beyond it, a mask that is softened by 4 pixels is black.
SOFT_EDGE = 12


def find_detector(harness: EngineHarness, name: str) -> AdapterSource:
    """Returns the source of a detector, which is saved at its first use."""
    folder = harness.folder / "detectors"
    if not (folder / name).exists():
        save_yolos(folder / name, **DETECTORS[name])
    return DetectorIndex("detector", (folder,), Snapshots(harness.folder / "hub")).get_source(name)


def make_inputs(harness: EngineHarness, detector: str | None, model: str = "tiny-sd15", **fields: Any) -> JobInputs:
    """Returns the inputs of a job with a detector, or without a stage for details."""
    if detector is None:
        return harness.make_inputs(model, **{name: value for name, value in fields.items() if "detail" not in name})
    sources = (find_detector(harness, detector), *fields.pop("adapters", ()))
    inputs = harness.make_inputs(model, sources, detail_detector=detector, **fields)
    return replace(inputs, request=set_adapter_fields(inputs.request, harness.model(model)[0], sources))


def run(harness: EngineHarness, inputs: JobInputs) -> EngineResult:
    *_, result = harness.run(inputs)
    assert isinstance(result, EngineResult)
    return result


def measure_changes(image: Image.Image, before: Image.Image, *boxes: tuple[int, ...]) -> tuple[int, float]:
    """Returns the largest change of a pixel beyond the soft edges of boxes, and the least mean change in a box."""
    changes = np.abs(np.asarray(image, np.int16) - np.asarray(before, np.int16))
    inside = min(changes[top:bottom, left:right].mean() for left, top, right, bottom in boxes)
    for left, top, right, bottom in boxes:
        changes[max(0, top - SOFT_EDGE) : bottom + SOFT_EDGE, max(0, left - SOFT_EDGE) : right + SOFT_EDGE] = 0
    return int(changes.max()), float(inside)


@pytest.mark.parametrize("prompt", ["", "a golden face"])
def test_a_part_is_painted_as_by_diffusers(harness: EngineHarness, prompt: str) -> None:
    before = run(harness, make_inputs(harness, None, **FIELDS)).images[0]
    result = run(harness, make_inputs(harness, "one", **FIELDS, detail_prompt=prompt))
    assert result.receipts[0].detail_boxes == (LEFT_BOX,)
    mask = Image.new("L", (64, 64))
    mask.paste(255, LEFT_BOX)
    mask = soften(mask, 4)
    left, top, right, bottom = region = mask.getbbox() or LEFT_BOX
    pipeline: Any = StableDiffusionInpaintPipeline.from_pretrained(harness.folder / "tiny-sd15", dtype=torch.float32)
    pipeline.scheduler = create_scheduler("Euler", pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    painted = pipeline(
        prompt or "a red circle",
        image=before.resize((64, 64), Image.Resampling.LANCZOS, region),
        mask_image=cover_latents(mask.resize((64, 64), Image.Resampling.BILINEAR, region), pipeline.vae_scale_factor),
        width=64,
        height=64,
        strength=0.5,
        num_inference_steps=4,
        guidance_scale=harness.model("tiny-sd15")[0].guidance_scale,
        generator=torch.Generator().manual_seed(1),
    ).images[0]
    expected = before.copy()
    small = painted.resize((right - left, bottom - top), Image.Resampling.LANCZOS)
    expected.paste(small, region, mask.crop(region))
    assert difference(result.images[0], expected) <= 1
    outside, inside = measure_changes(result.images[0], before, LEFT_BOX)
    assert outside == 0 and inside > 5


def test_several_parts_are_painted_in_reading_order_each_with_a_seed_of_its_own(harness: EngineHarness) -> None:
    events = harness.run(make_inputs(harness, "two", **FIELDS))
    result = events[-1]
    assert isinstance(result, EngineResult)
    before = run(harness, make_inputs(harness, None, **FIELDS)).images[0]
    assert result.receipts[0].detail_boxes == (LEFT_BOX, RIGHT_BOX)
    outside, inside = measure_changes(result.images[0], before, LEFT_BOX, RIGHT_BOX)
    assert outside == 0 and inside > 5
    progress = [event for event in events if isinstance(event, Progress) and event.stage == 2]
    assert [(event.step, event.steps, event.stages) for event in progress] == [(step, 4, 2) for step in (1, 2, 3, 4)]


@pytest.mark.parametrize("name", [*(name for name in TINY if name not in NO_INPAINTING), *TINY_INPAINTING])
def test_each_family_paints_parts_again(harness: EngineHarness, name: str) -> None:
    fields: dict[str, Any] = {"steps": 2, "detail_strength": 1, "detail_padding": 0}
    fields |= {"start": START, "mask": MASK} if name in TINY_INPAINTING else {}
    before = run(harness, make_inputs(harness, None, name, **fields)).images[0]
    outside, inside = measure_changes(
        run(harness, make_inputs(harness, "one", name, **fields)).images[0], before, LEFT_BOX
    )
    assert outside == 0 and inside > 5


def test_each_picture_of_a_batch_has_its_own_parts(harness: EngineHarness) -> None:
    together = run(harness, make_inputs(harness, "wandering", **FIELDS, batch_size=2, more_prompts=["a blue tree"]))
    alone = [
        run(harness, make_inputs(harness, "wandering", **FIELDS, seed=seed, prompt=prompt))
        for seed, prompt in enumerate(("a red circle", "a red circle", "a blue tree", "a blue tree"), 1)
    ]
    assert [each.detail_boxes for each in together.receipts] == [each.receipts[0].detail_boxes for each in alone]
    assert len({each.detail_boxes for each in together.receipts}) > 1
    pairs = zip(together.images, (each.images[0] for each in alone), strict=True)
    assert max(difference(*pair) for pair in pairs) <= 1


def test_parts_share_passes_with_other_jobs(harness: EngineHarness) -> None:
    job_inputs = [
        make_inputs(harness, "two", **FIELDS, seed=1),
        make_inputs(harness, "one", **FIELDS, seed=2),
        make_inputs(harness, None, **FIELDS | {"steps": 8}, seed=3),
    ]
    solo = PassCounter(harness.engine.pass_timer)
    expected = [get_final_image(harness.run(inputs)) for inputs in job_inputs]
    alone, shared = solo.count, PassCounter(harness.engine.pass_timer)
    found = [get_final_image(events) for events in harness.run_concurrently(*job_inputs)]
    assert max(difference(*pair) for pair in zip(expected, found, strict=True)) <= 1
    assert shared.count < alone * 0.6


START = Image.effect_noise((64, 64), 60).convert("RGB")
MASK = Image.new("L", (64, 64))
ImageDraw.Draw(MASK).rectangle((0, 0, 63, 20), fill=255)
TASKS: dict[str, dict[str, Any]] = {
    "image to image": {"start": START, "strength": 0.8},
    "inpainting": {"start": START, "mask": MASK, "strength": 1},
    "outpainting": {"start": START, "extend_right": 32, "width": 96, "height": 64},
    "hires": {"hires_scale": 1.5},
    "hires with large parts": {"hires_scale": 1.5, "detail_padding": 64},
    "variation": {"variation_seed": 7, "variation_strength": 0.4},
}


@pytest.mark.parametrize("task", TASKS)
def test_parts_are_painted_after_every_task(harness: EngineHarness, task: str) -> None:
    fields = FIELDS | TASKS[task]
    before = run(harness, make_inputs(harness, None, **fields)).images[0]
    result = run(harness, make_inputs(harness, "one", **fields))
    (box,) = result.receipts[0].detail_boxes or ()
    outside, inside = measure_changes(result.images[0], before, box)
    assert result.images[0].size == before.size
    assert outside == 0 and inside > 3
    assert box[0] == pytest.approx(before.width * 0.115, abs=1)


def test_an_upscaler_makes_the_finished_picture_larger(harness: EngineHarness) -> None:
    inputs = make_inputs(harness, "one", **FIELDS, scale=2, upscaler="Lanczos")
    result = run(harness, replace(inputs, upscalers={"upscaler": UpscalerSource(id="Lanczos", name="Lanczos")}))
    small = run(harness, make_inputs(harness, "one", **FIELDS)).images[0]
    assert result.images[0].tobytes() == small.resize((128, 128), Image.Resampling.LANCZOS).tobytes()
    assert result.receipts[0].detail_boxes == (LEFT_BOX,)


def test_vae_controls_and_references_of_the_job_are_those_of_the_parts(harness: EngineHarness) -> None:
    """Each changes a part, although the picture before is the same."""
    start: dict[str, Any] = {"start": START, "strength": 0.01, "steps": 4, "detail_strength": 1, "detail_padding": 0}
    plain = run(harness, make_inputs(harness, "one", **start)).images[0]
    get_vae_folder(harness, "sd")
    vae = find_vaes(harness).get_source("sd")
    other_vae = run(harness, make_inputs(harness, "one", **start, adapters=[vae], vae="sd")).images[0]
    save_controlnet(harness.folder / "tiny-sd15", harness.folder / "controlnets" / "details")
    control = find_controlnets(harness).get_source("details")
    use = {"controlnet": "details", "image": ANY_IMAGE, "preprocessor": "none"}
    inputs = make_inputs(harness, "one", **start, adapters=[control], controls=[use])
    images = {**inputs.input_images, "controls[0].image": MASK.convert("RGB")}
    controlled = run(harness, replace(inputs, input_images=images)).images[0]
    look = find_sources(harness, "tiny-sd15", "plain", 1)
    references: dict[str, Any] = {
        "adapters": look,
        "references": [{"ip_adapter": "tiny-sd15-plain", "image": ANY_IMAGE}],
    }
    inputs = make_inputs(harness, "one", **start, **references, batch_size=2)
    images = {**inputs.input_images, "references[0].image": MASK.convert("RGB")}
    referenced = run(harness, replace(inputs, input_images=images)).images[0]
    for image in (other_vae, controlled, referenced):
        assert measure_changes(image, plain, LEFT_BOX)[1] > 1


@pytest.mark.parametrize("label", ["", "face", "hand"])
def test_only_parts_of_the_label_are_painted(harness: EngineHarness, label: str) -> None:
    before = run(harness, make_inputs(harness, None, **FIELDS)).images[0]
    result = run(harness, make_inputs(harness, "hands", **FIELDS, detail_label=label))
    is_found = label != "face"
    assert result.receipts[0].detail_boxes == ((LEFT_BOX,) if is_found else ())
    assert (result.images[0].tobytes() != before.tobytes()) == is_found


def test_without_enough_confidence_nothing_is_painted_and_the_receipt_says_so(harness: EngineHarness) -> None:
    before = run(harness, make_inputs(harness, None, **FIELDS))
    result = run(harness, make_inputs(harness, "one", **FIELDS, detail_confidence=0.99))
    assert result.images[0].tobytes() == before.images[0].tobytes()
    assert (result.receipts[0].detail_boxes, before.receipts[0].detail_boxes) == ((), None)


def test_a_receipt_makes_the_picture_again(harness: EngineHarness) -> None:
    inputs = make_inputs(harness, "one", **FIELDS, detail_prompt="a nose")
    receipt = run(harness, inputs).receipts[0]
    assert receipt.detail_detector_sha256 == inputs.adapters[0].sha256
    fields = receipt.to_request_fields()
    assert {name: value for name, value in fields.items() if name.startswith("detail_")} == {
        "detail_detector": "one",
        "detail_label": "",
        "detail_prompt": "a nose",
        "detail_strength": 0.5,
        "detail_confidence": 0.3,
        "detail_padding": 0,
    }


def test_a_preview_shows_the_whole_picture(harness: EngineHarness) -> None:
    control = new_control()
    control.wants_previews.set()
    before = run(harness, make_inputs(harness, None, **FIELDS)).images[0]
    events = harness.run(make_inputs(harness, "one", **FIELDS | {"steps": 12}), control)
    shown = [event.preview for event in events if isinstance(event, Progress) and event.stage == 2 and event.preview]
    preview = Image.open(BytesIO(base64.b64decode(shown[0])))
    assert preview.size == before.size


def test_a_job_that_is_ended_early_keeps_its_pictures_as_they_are(harness: EngineHarness) -> None:
    fields = FIELDS | {"steps": 8, "detail_strength": 1}
    progress, result = run_and_finish(harness.engine, make_inputs(harness, "two", **fields), at_step=9)
    assert (progress[-1].stage, progress[-1].steps) == (2, 16)
    assert result.receipts[0].unfinished_at_step == progress[-1].step < 16
    before = run(harness, make_inputs(harness, None, **fields)).images[0]
    assert result.receipts[0].detail_boxes == (LEFT_BOX, RIGHT_BOX)
    outside, inside = measure_changes(result.images[0], before, LEFT_BOX, RIGHT_BOX)
    assert outside == 0 and inside > 3
    _, result = run_and_finish(harness.engine, make_inputs(harness, "two", **fields), at_step=1)
    assert result.receipts[0].detail_boxes is None


def test_a_job_is_cancelled_while_parts_are_painted(harness: EngineHarness) -> None:
    harness.run(make_inputs(harness, "two", **FIELDS))
    events = run_until_cancelled(harness.engine, make_inputs(harness, "two", **FIELDS), at=6)
    assert type(events[-1]).__name__ == "Cancelled"
    assert [event.step for event in events if isinstance(event, Progress)][-1] == 2


@pytest.mark.parametrize("name", ["DFineForObjectDetection", "RTDetrForObjectDetection", "RTDetrV2ForObjectDetection"])
def test_each_class_of_detectors_finds_parts(harness: EngineHarness, name: str) -> None:
    if not (harness.folder / "detectors" / name).exists():
        save_rt_detr(harness.folder / "detectors" / name, name)
    boxes = run(harness, make_inputs(harness, name, **FIELDS)).receipts[0].detail_boxes
    assert boxes is not None and 0 < len(boxes) <= 5
    assert all(0 <= left < right <= 64 and 0 <= top < bottom <= 64 for left, top, right, bottom in boxes)


def test_a_detector_is_in_memory_until_it_is_unloaded(harness: EngineHarness) -> None:
    harness.run(make_inputs(harness, "one", **FIELDS))
    before = harness.engine.store.measure_usage()["cpu"]
    harness.engine.release("one")
    weights = load_file(find_detector(harness, "one").path)
    assert before - harness.engine.store.measure_usage()["cpu"] == sum(each.numel() for each in weights.values()) * 4


def test_weights_of_another_configuration_end_the_job_alone(harness: EngineHarness, tmp_path: Path) -> None:
    source = find_detector(harness, "one")
    shutil.copytree(source.path.parent, tmp_path / "other")
    file = tmp_path / "other" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_hidden_layers": 2}))
    inputs = make_inputs(harness, "one", **FIELDS)
    other = DetectorIndex("detector", (tmp_path,), Snapshots(tmp_path / "hub")).get_source("other")
    with pytest.raises(ModelLoadFailed, match="its tensors are not those of its configuration: missing"):
        harness.run(replace(inputs, adapters=[other]))
    assert run(harness, inputs).receipts[0].detail_boxes == (LEFT_BOX,)


def change_detector(harness: EngineHarness, folder: Path, **weights: float) -> AdapterSource:
    """Returns a copy of a detector in which these weights have one value each."""
    source = find_detector(harness, "one")
    shutil.copytree(source.path.parent, folder / "changed")
    own = load_file(source.path)
    changed = {name: torch.full_like(own[name], value) for name, value in weights.items()}
    save_file(own | changed, folder / "changed" / source.path.name)
    return DetectorIndex("detector", (folder,), Snapshots(folder / "hub")).get_source("changed")


def test_a_detector_that_cannot_look_at_a_picture_ends_its_job_alone(harness: EngineHarness, tmp_path: Path) -> None:
    inputs = make_inputs(harness, "one", **FIELDS)
    nowhere = change_detector(harness, tmp_path, **{"bbox_predictor.layers.2.bias": math.nan})
    with pytest.raises(ModelLoadFailed, match="it cannot look at a picture: cannot convert float NaN to integer"):
        harness.run(replace(inputs, adapters=[nowhere]))
    (nowhere.path.parent / "preprocessor_config.json").write_text('{"size": {"weight": 3}}')
    blind = nowhere.model_copy(update={"sha256": "another"})
    with pytest.raises(ModelLoadFailed, match="changed"):
        harness.run(replace(inputs, adapters=[blind]))
    assert run(harness, inputs).receipts[0].detail_boxes == (LEFT_BOX,)


def test_a_label_that_the_detector_does_not_know_is_refused(harness: EngineHarness) -> None:
    with pytest.raises(InvalidRequest, match="must be one of face, hand with the detector one") as caught:
        make_inputs(harness, "one", **FIELDS, detail_label="foot")
    assert caught.value.field == "detail_label"


@pytest.mark.parametrize("name", NO_INPAINTING)
def test_a_model_that_cannot_inpaint_has_no_details(harness: EngineHarness, name: str) -> None:
    with pytest.raises(InvalidRequest, match="detail_detector: cannot be used with the model"):
        harness.make_inputs(name, detail_detector="faces")
