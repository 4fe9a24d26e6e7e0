"""Makes control maps of pictures that clients send, so that users can look at them before they paint."""

from __future__ import annotations

import asyncio

from imagegen.errors import attribute_errors_to
from imagegen.media.control_maps.preprocessors import PREPROCESSORS
from imagegen.media.png import encode_png
from imagegen.schema.base import User
from imagegen.schema.controls import MAP_PLACE, Preprocessor
from imagegen.service import Service


async def store_control_map(
    service: Service,
    picture: str,
    preprocessor: Preprocessor,
    user: User,
    field: str,
    preprocessor_field: str = "preprocessor",
) -> str:
    """Stores the control map of a picture as an input picture of the user, and returns its id.

    `picture` is in base64, a data URI or an id; the fields are the names in errors. A network makes it in a worker.
    Raises InvalidRequest, TooManyRequests, and what the worker raises.
    """
    with attribute_errors_to(field):
        image_id = await service.add_encoded_input(picture, user, MAP_PLACE)
    if PREPROCESSORS[preprocessor].make is None:
        find = service.model_manager.find_preprocessor
        network = await asyncio.to_thread(find, preprocessor, preprocessor_field)
        map_id = await service.model_manager.memory.make_map(network, image_id)
        return await service.add_input(service.images.input_path(map_id), user, MAP_PLACE)
    content = await asyncio.to_thread(make_control_map, service, image_id, preprocessor)
    return await service.add_input(content, user, MAP_PLACE)


def make_control_map(service: Service, image_id: str, preprocessor: Preprocessor) -> bytes:
    """Returns the control map of an input picture as a PNG file, by a preprocessor that is no network."""
    make = PREPROCESSORS[preprocessor].make
    assert make is not None
    return encode_png(make(service.images.load_input(image_id)))
