"""Pictures as the web UI takes them: to start from, to read and to enlarge."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from PIL import Image

from imagegen.api.pictures import decoded
from imagegen.errors import InvalidRequest, of_field
from imagegen.images import opened
from imagegen.png import encoded
from imagegen.schema import User
from imagegen.service import Service

MODES = "must be 0, which stretches the picture, or 1, which cuts off what is over"


async def fitted(
    service: Service, sent: tuple[str, ...], mode: Any, size: tuple[int | None, int | None], model: str, user: User
) -> str:
    """The id of the stored picture, stretched when that is what was asked for. Raises InvalidRequest."""
    if len(sent) != 1:
        raise InvalidRequest("init_images", "must hold one picture")
    if isinstance(mode, bool) or mode not in (0, 1, None):
        raise InvalidRequest("resize_mode", MODES)
    with of_field("init_images"):
        picture = decoded(sent[0])
        if mode != 1:
            info, _ = await asyncio.to_thread(service.stock.model, model)
            picture = await asyncio.to_thread(stretched, picture, (size[0] or info.width, size[1] or info.height))
        return await service.add_input(picture, user)


def stretched(picture: bytes, size: tuple[int, int]) -> bytes:
    """The same, unless its sides are in another proportion. Raises InvalidRequest."""
    image = opened(picture)
    if image.width * size[1] == image.height * size[0]:
        return picture
    return encoded(image.resize(size, Image.Resampling.LANCZOS))


def in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
