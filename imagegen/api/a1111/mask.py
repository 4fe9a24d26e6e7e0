"""The mask of img2img, and the fields that say how it is used. Without a mask they have no effect, as in the web UI."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import WithJsonSchema

from imagegen.api.a1111.field_types import READ_NUMBER
from imagegen.api.a1111.start_image import FIELD, stretch
from imagegen.api.a1111.unknown_fields import OpenModel
from imagegen.errors import InvalidRequest
from imagegen.media.base64_images import decode_base64_image
from imagegen.media.inputs import load_input_image
from imagegen.media.masks import check_size
from imagegen.schema.base import User
from imagegen.schema.field_types import MaskFill
from imagegen.service import Service

T = TypeVar("T")

# The request's fields, and their names in the web UI's API.
MASK_FIELD = "mask_image"
MASK_NAMES = {
    MASK_FIELD: "mask",
    "mask_blur": "mask_blur",
    "mask_invert": "inpainting_mask_invert",
    "mask_area": "inpaint_full_res",
    "mask_padding": "inpaint_full_res_padding",
    "mask_fill": "inpainting_fill",
}
# By the number in the web UI's API.
FILLS: tuple[MaskFill, ...] = ("fill", "original", "noise", "nothing")
FLAGS = {0: False, 1: True}
# The web UI's default, in pixels.
DEFAULT_BLUR = 4


def describe(description: str, **schema: Any) -> WithJsonSchema:
    return WithJsonSchema({**schema, "description": description})


class MaskFields(OpenModel):
    """The fields of img2img for a mask. Its values are checked if there is a mask."""

    mask: Annotated[
        Any, describe("In base64 or as a data URI. What is white in it is painted anew.", type=["string", "null"])
    ] = None
    mask_blur: Annotated[Any, READ_NUMBER, describe("Pixels.", type=["integer", "null"], minimum=0, maximum=64)] = None
    mask_blur_x: Annotated[Any, READ_NUMBER, describe("The same as mask_blur_y.", type=["integer", "null"])] = None
    mask_blur_y: Annotated[Any, READ_NUMBER, describe("The same as mask_blur_x.", type=["integer", "null"])] = None
    inpainting_mask_invert: Annotated[
        Any, READ_NUMBER, describe("1 to paint anew what is black.", enum=[0, 1, False, True, None])
    ] = None
    inpaint_full_res: Annotated[
        Any, READ_NUMBER, describe("Whether to paint the masked part at full size.", enum=[0, 1, False, True, None])
    ] = None
    inpaint_full_res_padding: Annotated[
        Any, READ_NUMBER, describe("Pixels.", type=["integer", "null"], minimum=0, maximum=512)
    ] = None
    inpainting_fill: Annotated[
        Any,
        READ_NUMBER,
        describe("0 the colours around the mask, 1 the original, 2 noise, 3 nothing.", enum=[0, 1, 2, 3, None]),
    ] = None


async def store_mask(
    service: Service, body: MaskFields, start_image: str, resize_mode: Any, size: tuple[int, int], user: User
) -> dict[str, Any]:
    """Stores the mask of a request, and returns the request's fields for it, none without a mask.

    `start_image` is the picture in base64 that the mask is for. As that, the mask is stretched to `size` with
    `resize_mode` 0. Raises InvalidRequest.
    """
    if body.mask in (None, ""):
        return {}
    if not isinstance(body.mask, str):
        raise InvalidRequest(MASK_FIELD, "must be a picture in base64")
    fields = read_mask_settings(body)
    mask = await asyncio.to_thread(decode_base64_image, body.mask, MASK_FIELD)
    mask = await asyncio.to_thread(fit_mask, mask, start_image, resize_mode, size)
    return fields | {MASK_FIELD: await service.add_input(mask, user, MASK_FIELD)}


def fit_mask(mask: bytes, start_image: str, resize_mode: Any, size: tuple[int, int]) -> bytes:
    """Returns the mask as the start image is stored. Raises InvalidRequest for one of another size."""
    start = load_input_image(decode_base64_image(start_image, FIELD), FIELD)
    check_size(MASK_FIELD, load_input_image(mask, MASK_FIELD, "mask"), start)
    if resize_mode == 1:
        return mask
    return stretch(mask, size, MASK_FIELD)


def read_mask_settings(body: MaskFields) -> dict[str, Any]:
    """Returns the request's fields for how the mask is used, with the web UI's defaults. Raises InvalidRequest."""
    full_res = read_choice("inpaint_full_res", body.inpaint_full_res, True, FLAGS)
    return {
        "mask_blur": read_blur(body),
        "mask_invert": read_choice("inpainting_mask_invert", body.inpainting_mask_invert, False, FLAGS),
        "mask_area": "masked" if full_res else "whole",
        "mask_padding": 0 if body.inpaint_full_res_padding is None else body.inpaint_full_res_padding,
        "mask_fill": read_choice("inpainting_fill", body.inpainting_fill, "fill", dict(enumerate(FILLS))),
    }


def read_blur(body: MaskFields) -> Any:
    """Returns the blur of a mask. Its parts for both directions only count where it is left out, and must be equal."""
    if body.mask_blur is not None:
        return body.mask_blur
    across, down = (DEFAULT_BLUR if each is None else each for each in (body.mask_blur_x, body.mask_blur_y))
    if across != down:
        raise InvalidRequest("mask_blur_x", "must be the same as mask_blur_y")
    return across


def read_choice(name: str, value: Any, default: T, choices: Mapping[int, T]) -> T:
    """Returns the choice with the number `value`, or `default` for None. Raises InvalidRequest."""
    if value is None:
        return default
    if not isinstance(value, int | float) or value not in choices:
        raise InvalidRequest(name, f"must be one of {', '.join(map(str, choices))}")
    return choices[int(value)]
