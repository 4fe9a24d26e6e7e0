"""The start image of img2img, stretched to the size of the request when that is asked for."""

from __future__ import annotations

import asyncio
from typing import Any

from PIL import Image

from imagegen.errors import InvalidRequest
from imagegen.media.base64_images import decode_base64_image
from imagegen.media.inputs import load_input_image
from imagegen.media.png import encode_png
from imagegen.schema.base import User
from imagegen.schema.input_images import get_image_mode
from imagegen.service import Service

# The request's field for the start image, and its name in the web UI's API.
FIELD, A1111_FIELD = "init_image", "init_images"
# The `resize_mode` with which the picture is stored as it is.
KEEP_SHAPE = 1
RESIZE_MODE_PROBLEM = "must be 0, which stretches the picture, or 1, which cuts off its edges"


async def store_start_image(
    service: Service,
    pictures: tuple[str, ...],
    resize_mode: Any,
    size: tuple[int, int],
    user: User,
) -> dict[str, str]:
    """Stores the start image, and returns its id by the request's field. Raises InvalidRequest.

    With `resize_mode` 0 it is stretched to `size`, width and height in pixels.
    """
    if len(pictures) != 1:
        raise InvalidRequest(FIELD, "must hold one picture")
    if isinstance(resize_mode, bool) or resize_mode not in (0, 1, None):
        raise InvalidRequest("resize_mode", RESIZE_MODE_PROBLEM)
    picture = decode_base64_image(pictures[0], FIELD)
    if resize_mode != 1:
        picture = await asyncio.to_thread(stretch, picture, size, FIELD)
    return {FIELD: await service.add_input(picture, user, FIELD)}


def stretch(picture: bytes, size: tuple[int, int], field: str) -> bytes:
    """Returns the picture with the proportions of `size`, as it is if it has them. Raises InvalidRequest."""
    image = load_input_image(picture, field, get_image_mode(field))
    if image.width * size[1] == image.height * size[0]:
        return picture
    return encode_png(image.resize(size, Image.Resampling.LANCZOS))
