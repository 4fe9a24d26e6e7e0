"""Inpainting paints what is masked anew, and changes no other pixel, with the models of all families."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from imagegen.engine.inpainting import plan_inpainting
from imagegen.schema.events import Progress
from tests.hub.tiny import TINY, TINY_INPAINTING
from tests.integration.conftest import ANY_IMAGE, Generate, request
from tests.integration.engine_harness import EngineHarness, get_final_image, new_control
from tests.integration.test_batching import PassCounter, difference
from tests.integration.test_finish_early import run_and_finish
from tests.integration.test_several_prompts import check_each_is_its_own

NO_INPAINTING = ("tiny-sana", "tiny-flux-kontext", "tiny-flux2-klein")
NAMES = [*(name for name in TINY if name not in NO_INPAINTING), *TINY_INPAINTING]
START = Image.effect_noise((64, 64), 60).convert("RGB")
MASKED = (20, 24, 44, 40)
MASK = Image.new("L", (64, 64))
ImageDraw.Draw(MASK).rectangle((20, 24, 43, 39), fill=255)
FIELDS: dict[str, Any] = {"start": START, "mask": MASK, "mask_blur": 2, "mask_padding": 4}
# Beyond it, a mask that is softened by 2 pixels is black.
SOFT_EDGE = 8


def measure_changes(image: Image.Image, start: Image.Image = START) -> tuple[int, float]:
    """Returns the largest change of a pixel outside of the soft mask, and the mean change of the masked ones."""
    changes = np.abs(np.asarray(image, np.int16) - np.asarray(start, np.int16))
    left, top, right, bottom = MASKED
    inside = changes[top:bottom, left:right].mean()
    changes[top - SOFT_EDGE : bottom + SOFT_EDGE, left - SOFT_EDGE : right + SOFT_EDGE] = 0
    return int(changes.max()), float(inside)


@pytest.mark.parametrize("name", NAMES)
def test_each_family_changes_what_is_masked_and_no_other_pixel(harness: EngineHarness, name: str) -> None:
    images = [
        harness.generate_image(name, **FIELDS, mask_area=area, strength=strength)
        for area, strength in (("whole", 1), ("whole", 0.6), ("masked", 1))
    ]
    for image in images:
        outside, inside = measure_changes(image)
        assert outside == 0 and inside > 20
    assert len({image.tobytes() for image in images}) == 3


def test_what_diffusers_has_no_pipeline_for_is_known_not_to_inpaint(harness: EngineHarness) -> None:
    can = {name: harness.model(name)[0].can for name in (*TINY, *TINY_INPAINTING)}
    assert {name for name in can if can[name].inpainting} == set(NAMES)
    assert {name for name in can if not can[name].text_to_image} == set(TINY_INPAINTING)
    assert harness.model("tiny-flux-fill")[0].guidance_scale == 30
    assert harness.model("tiny-sd15-inpainting")[0].strength == 1


@pytest.mark.parametrize("name", ["tiny-sd15", "tiny-sd3", "tiny-flux-dev", "tiny-z-image", "tiny-sd15-inpainting"])
def test_each_picture_is_the_one_of_its_receipt(harness: EngineHarness, name: str) -> None:
    fields = FIELDS | {"mask_fill": "noise", "strength": 0.7, "mask_area": "masked"}
    receipts = check_each_is_its_own(harness, name, **fields, more_prompts=["a blue tree"]).receipts
    assert {(receipt.mask_image, receipt.mask_fill, receipt.mask_padding) for receipt in receipts} == {
        (ANY_IMAGE, "noise", 4)
    }


@pytest.mark.parametrize("name", ["tiny-sd15", "tiny-sd3", "tiny-flux-schnell", "tiny-z-image"])
def test_jobs_of_inpainting_share_passes_with_others(harness: EngineHarness, name: str) -> None:
    job_inputs = [
        harness.make_inputs(name, **FIELDS, seed=1, steps=6, strength=1),
        harness.make_inputs(name, seed=2, steps=6),
        harness.make_inputs(name, start=START, seed=3, steps=6, strength=1),
    ]
    solo = PassCounter(harness.engine.pass_timer)
    expected = [get_final_image(harness.run(inputs)) for inputs in job_inputs]
    alone = solo.count
    shared = PassCounter(harness.engine.pass_timer)
    found = [get_final_image(events) for events in harness.run_concurrently(*job_inputs)]
    assert max(difference(*pair) for pair in zip(expected, found, strict=True)) <= 1
    assert shared.count < alone * 0.75
    assert measure_changes(found[0])[0] == 0


def test_two_jobs_of_a_model_that_only_inpaints_share_passes(harness: EngineHarness) -> None:
    job_inputs = [harness.make_inputs("tiny-sd15-inpainting", **FIELDS, seed=seed, steps=6) for seed in (1, 2)]
    expected = [get_final_image(harness.run(inputs)) for inputs in job_inputs]
    shared = PassCounter(harness.engine.pass_timer)
    found = [get_final_image(events) for events in harness.run_concurrently(*job_inputs)]
    assert max(difference(*pair) for pair in zip(expected, found, strict=True)) <= 1
    assert shared.count < 2 * (6 + 1)


@pytest.mark.parametrize("area", ["whole", "masked"])
def test_a_preview_and_an_early_end_show_the_whole_picture(harness: EngineHarness, area: str) -> None:
    inputs = harness.make_inputs("tiny-sd15", **FIELDS, mask_area=area, steps=12, strength=1)
    control = new_control()
    control.wants_previews.set()
    preview = next(event.preview for event in harness.run(inputs, control) if isinstance(event, Progress))
    assert preview is not None
    shown = Image.open(BytesIO(base64.b64decode(preview)))
    smooth = [image.convert("L").resize((16, 16), Image.Resampling.BOX) for image in (shown, START)]
    differences = np.abs(np.asarray(smooth[0], np.int16) - np.asarray(smooth[1], np.int16))
    assert shown.size == START.size
    assert differences[:3].max() < 20 and differences[-3:].max() < 20, "JPEG is not exact"
    _, result = run_and_finish(harness.engine, inputs, at_step=3)
    assert result.receipts[0].unfinished_at_step is not None
    assert measure_changes(result.images[0])[0] == 0


def test_each_fill_starts_from_something_else_unless_strength_is_1(harness: EngineHarness) -> None:
    def paint(strength: float, *fills: str) -> set[bytes]:
        images = [harness.generate_image("tiny-sd15", **FIELDS, mask_fill=fill, strength=strength) for fill in fills]
        return {image.tobytes() for image in images}

    assert len(paint(0.7, "original", "fill", "noise", "nothing")) == 4
    assert len(paint(1, "original", "noise", "nothing")) == 1


@pytest.mark.parametrize("name", ["tiny-sdxl", "tiny-sd3", "tiny-flux-dev", "tiny-z-image", "tiny-qwen-image"])
def test_noise_under_the_mask_can_be_varied(harness: EngineHarness, name: str) -> None:
    fields = FIELDS | {"mask_fill": "noise", "strength": 0.7}
    plain = harness.generate_image(name, **fields)
    varied = harness.generate_image(name, **fields, variation_strength=0.5, variation_seed=9)
    assert measure_changes(varied)[0] == 0
    assert measure_changes(varied, plain)[1] > 2


def test_blur_padding_and_inversion_change_the_picture(harness: EngineHarness) -> None:
    fields = FIELDS | {"mask_area": "masked"}
    changes: list[dict[str, Any]] = [{}, {"mask_blur": 6}, {"mask_padding": 12}, {"mask_invert": True}]
    images = [harness.generate_image("tiny-sd15", **fields | change) for change in changes]
    assert len({image.tobytes() for image in images}) == 4
    left, top, right, bottom = (side + inset for side, inset in zip(MASKED, (8, 6, -8, -6), strict=True))
    inner = [np.asarray(image)[top:bottom, left:right] for image in (images[3], START)]
    assert (inner[0] == inner[1]).all(), "inverted, what is white stays"


def test_a_larger_start_image_is_fitted_as_for_image_to_image(generate: Generate) -> None:
    large = Image.effect_noise((200, 100), 60).convert("RGB")
    mask = Image.new("L", large.size)
    ImageDraw.Draw(mask).rectangle((90, 40, 110, 60), fill=255)
    image = generate(start=large, mask=mask, mask_area="masked", strength=1, mask_blur=0).images[0]
    plan = plan_inpainting(
        request(init_image=ANY_IMAGE, mask_image=ANY_IMAGE, mask_blur=0, mask_area="masked"), large, mask, 8
    )
    changed = np.abs(np.asarray(image, np.int16) - np.asarray(plan.picture, np.int16)).max(axis=2)
    assert image.size == (64, 64)
    assert changed[np.asarray(plan.mask) == 0].max() == 0
    assert changed[np.asarray(plan.mask) == 255].mean() > 5


@pytest.mark.parametrize("name", ["tiny-sd15", "tiny-flux-schnell", "tiny-qwen-image", "tiny-flux-fill"])
def test_a_picture_is_extended_and_its_own_pixels_stay(harness: EngineHarness, name: str) -> None:
    image = harness.generate_image(name, start=START, extend_right=64, width=128, height=64)
    assert image.size == (128, 64)
    pixels = np.asarray(image)
    assert (pixels[:, :32] == np.asarray(START)[:, :32]).all()
    assert pixels[:, 72:].std() > 10
    other = harness.generate_image(name, start=START, extend_right=64, width=128, height=64, seed=2)
    assert image.tobytes() != other.tobytes()


def test_an_extended_picture_is_the_one_of_its_receipt(harness: EngineHarness) -> None:
    fields = {"start": START, "extend_left": 64, "width": 128, "height": 64}
    receipts = check_each_is_its_own(harness, "tiny-sd15", **fields, more_prompts=["a blue tree"]).receipts
    assert {(receipt.extend_left, receipt.strength, receipt.task) for receipt in receipts} == {(64, 0.9, "outpainting")}
