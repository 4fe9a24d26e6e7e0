"""How far a picture is extended, how large it gets, and where its own pixels are."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from imagegen.engine.outpainting import plan_outpainting
from imagegen.errors import InvalidRequest
from imagegen.schema.outpainting import Margins, check_extension, choose_size, compute_margins
from imagegen.schema.request import GenerationRequest
from imagegen.schema.validation import parse_request

START = Image.effect_noise((96, 64), 80).convert("RGB")


def make_request(**fields: object) -> GenerationRequest:
    return GenerationRequest.model_validate({"prompt": "x", "seed": 1, "init_image": "0" * 64, **fields})


@pytest.mark.parametrize(
    ("fields", "margins"),
    [
        ({"extend_left": 16, "extend_bottom": 24}, Margins(16, 0, 0, 24)),
        ({"extend_ratio": "2:1"}, Margins(16, 0, 16, 0)),
        ({"extend_ratio": "1:1"}, Margins(0, 16, 0, 16)),
        ({"extend_ratio": "3:2"}, Margins(0, 0, 0, 0)),
        ({"extend_ratio": "2:1", "extend_top": 16}, Margins(32, 16, 32, 0)),
    ],
)
def test_a_picture_is_extended_by_pixels_and_then_to_a_ratio(fields: dict[str, object], margins: Margins) -> None:
    assert compute_margins(make_request(**fields), START.size) == margins


def test_an_extension_by_nothing_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="extend_ratio: must not be that of the start image, 96x64"):
        check_extension(make_request(extend_ratio="3:2"), START.size)
    with pytest.raises(InvalidRequest, match="extend_ratio: must be width to height, such as 16:9"):
        parse_request({"prompt": "x", "init_image": "0" * 64, "extend_ratio": "wide"})
    with pytest.raises(InvalidRequest, match="extend_left: or one of extend_right, .* is required"):
        parse_request({"prompt": "x", "init_image": "0" * 64}, "outpainting")


@pytest.mark.parametrize(
    ("fields", "multiple", "size"),
    [
        ({"extend_left": 32}, 8, (128, 64)),
        ({"extend_left": 33}, 8, (136, 64)),
        ({"extend_left": 32}, 32, (128, 64)),
        ({"extend_right": 96 + 192, "extend_top": 64}, 8, (256, 88)),
    ],
)
def test_the_size_is_the_next_that_the_model_can_make(
    fields: dict[str, object], multiple: int, size: tuple[int, int]
) -> None:
    assert choose_size(make_request(**fields), START.size, multiple, 256) == size


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"extend_left": 40}, (40, 0)),
        ({"extend_left": 37}, (40, 0)),
        ({"extend_right": 37}, (0, 0)),
        ({"extend_top": 32, "extend_bottom": 8}, (0, 32)),
    ],
)
def test_the_pixels_of_the_start_image_stay_but_for_a_soft_edge(
    fields: dict[str, object], place: tuple[int, int]
) -> None:
    request = make_request(**fields)
    width, height = choose_size(request, START.size, 8, 256)
    plan = plan_outpainting(request.model_copy(update={"width": width, "height": height}), START, 8)
    pasted = plan.paste(Image.new("RGB", (width, height), "black"))
    box = (*place, place[0] + START.width, place[1] + START.height)
    outside = np.asarray(plan.mask).copy()
    outside[box[1] : box[3], box[0] : box[2]] = 255
    assert outside.min() == 255, "all that is new is painted"
    stays = np.asarray(plan.mask.crop(box)) == 0
    assert stays.mean() > 0.4
    assert (np.asarray(pasted.crop(box))[stays] == np.asarray(START)[stays]).all()


def test_another_size_is_made_of_the_whole_extended_picture() -> None:
    plan = plan_outpainting(make_request(extend_right=96, width=384, height=128), START, 8)
    assert plan.picture.size == (384, 128)
    mask = np.asarray(plan.mask)
    assert mask[:, :150].max() == 0 and mask[:, 200:].min() == 255
