"""Makes control maps of pictures that clients send, so that users can look at them before they paint."""

from __future__ import annotations

import asyncio

from imagegen.errors import attribute_errors_to
from imagegen.media.control_maps.preprocessors import PREPROCESSORS
from imagegen.media.png import encode_png
from imagegen.schema.base import User
from imagegen.service import Service

# Where a request has such a picture: it is stored as one for it.
PLACE = "controls[0].image"


async def store_control_map(service: Service, picture: str, preprocessor: str, user: User, field: str) -> str:
    """Stores the control map of a picture as an input picture of the user, and returns its id.

    `picture` is in base64, a data URI or an id; `field` is its name in errors. Raises InvalidRequest and
    TooManyRequests.
    """
    with attribute_errors_to(field):
        image_id = await service.add_encoded_input(picture, user, PLACE)
        content = await asyncio.to_thread(make_control_map, service, image_id, preprocessor)
        return await service.add_input(content, user, PLACE)


def make_control_map(service: Service, image_id: str, preprocessor: str) -> bytes:
    """Returns the control map of an input picture as a PNG file."""
    return encode_png(PREPROCESSORS[preprocessor].make(service.images.load_input(image_id)))
