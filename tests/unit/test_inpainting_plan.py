"""What a pipeline gets to inpaint, and what is pasted of its picture."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from imagegen.engine.inpainting import (
    cover_latents,
    fill_from_surroundings,
    find_masked_box,
    plan_inpainting,
    resize_region,
    soften,
)
from imagegen.schema.request import GenerationRequest

ANY = "0" * 64


def draw_mask(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    """Returns a mask that is white in a box, whose right and bottom are outside."""
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=255)
    return mask


def make_request(width: int = 64, height: int = 64, **fields: object) -> GenerationRequest:
    values = {"prompt": "x", "width": width, "height": height, "init_image": ANY, "mask_image": ANY, **fields}
    return GenerationRequest.model_validate(values)


def test_a_soft_mask_keeps_all_that_is_masked_and_ends_outside() -> None:
    mask = draw_mask((128, 128), (40, 40, 80, 80))
    soft = np.asarray(soften(mask, 4))
    assert soft[40:80, 44:76].min() == 255 and soft[44:76, 40:80].min() == 255
    assert 0 < soft[60, 84] < 255
    assert soft[:20].max() == 0
    assert soften(mask, 0) is mask


@pytest.mark.parametrize(
    ("box", "padding", "expected"),
    [
        ((40, 40, 60, 50), 0, (40, 40, 60, 50)),
        ((40, 40, 60, 50), 10, (20, 30, 80, 60)),
        ((0, 0, 4, 4), 0, (0, 0, 8, 4)),
        ((120, 60, 128, 64), 200, (0, 0, 128, 64)),
        ((126, 62, 128, 64), 1, (122, 61, 128, 64)),
    ],
)
def test_the_box_around_a_mask_has_the_proportions_of_the_picture(
    box: tuple[int, int, int, int], padding: int, expected: tuple[int, int, int, int]
) -> None:
    assert find_masked_box(draw_mask((128, 64), box), padding) == expected


def test_a_latent_is_painted_if_a_pixel_of_it_is_masked() -> None:
    mask = Image.new("L", (32, 16))
    mask.putpixel((9, 3), 255)
    mask.putpixel((31, 15), 100)
    painted = np.asarray(cover_latents(mask, 8))
    assert (painted[:8, 8:16] == 255).all()
    assert int((painted > 0).sum()) == 64
    assert np.asarray(cover_latents(mask, 32)).min() == 255, "the last latent reaches beyond the picture"


def test_the_whole_region_is_what_fitting_gives() -> None:
    image = Image.effect_noise((201, 100), 50).convert("RGB")
    fitted = ImageOps.fit(image, (64, 64), Image.Resampling.LANCZOS)
    assert resize_region(image, (64, 64), (0, 0, 64, 64)).tobytes() == fitted.tobytes()


def test_a_region_has_the_detail_of_a_large_start_image() -> None:
    stripes = np.zeros((512, 512), np.uint8)
    stripes[:, ::4] = stripes[:, 1::4] = 255
    image = Image.fromarray(stripes).convert("RGB")
    region = np.asarray(resize_region(image, (64, 64), (24, 24, 32, 32)))
    assert region.std() > 100, "at the size of the request, it is grey"


def test_the_colours_around_a_mask_fill_it() -> None:
    image = Image.new("RGB", (64, 64), "red")
    image.paste("blue", (20, 20, 44, 44))
    filled = fill_from_surroundings(image, draw_mask(image.size, (16, 16, 48, 48)))
    middle = filled.getpixel((32, 32))
    assert isinstance(middle, tuple)
    assert middle[0] > 200 and middle[2] < 50


def test_a_pipeline_gets_the_masked_part_enlarged_and_its_picture_is_pasted_there() -> None:
    start = Image.new("RGB", (64, 64), "white")
    mask = draw_mask(start.size, (24, 24, 40, 40))
    plan = plan_inpainting(make_request(mask_blur=0, mask_area="masked", mask_padding=8), start, mask, 8)
    assert plan.box == (16, 16, 48, 48)
    assert plan.start.size == plan.painted.size == (64, 64)
    assert np.asarray(plan.painted)[16:48, 16:48].min() == 255
    pasted = np.asarray(plan.paste(Image.new("RGB", (64, 64), "black")))
    assert pasted[24:40, 24:40].max() == 0
    assert int((pasted < 255).any(axis=2).sum()) == 16 * 16
    preview = plan.paste_preview(Image.new("RGB", (8, 8), "black"), 32)
    assert preview.size == (32, 32)
    assert np.asarray(preview)[13:19, 13:19].max() < 100 and np.asarray(preview)[:8].min() == 255


def test_an_inverted_mask_paints_what_is_black() -> None:
    start, mask = Image.new("RGB", (64, 64), "white"), draw_mask((64, 64), (0, 0, 32, 64))
    plan = plan_inpainting(make_request(mask_blur=0, mask_invert=True), start, mask, 8)
    pasted = np.asarray(plan.paste(Image.new("RGB", (64, 64), "black")))
    assert pasted[:, :32].min() == 255 and pasted[:, 32:].max() == 0
