"""Makes control maps of pictures that clients send, so that users can look at them before they paint."""

from __future__ import annotations

import asyncio

from imagegen.errors import attribute_errors_to
from imagegen.media.control_maps.preprocessors import PREPROCESSORS, fit_picture
from imagegen.schema.base import User
from imagegen.schema.controls import MAP_PLACE, ControlUse, Preprocessor
from imagegen.schema.sizes import Size
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
    map_id = await make_control_map(service, image_id, preprocessor, preprocessor_field)
    return await service.add_input(service.images.input_path(map_id), user, MAP_PLACE)


async def make_request_map(service: Service, use: ControlUse, size: Size) -> str:
    """Stores the control map of a request in the size of its picture, and returns its id. It belongs to no user.

    Raises InvalidRequest, and what the worker raises.
    """
    images = service.images
    fitted_id = await asyncio.to_thread(lambda: images.write_input(fit_picture(images.load_input(use.image), size)))
    return await make_control_map(service, fitted_id, use.preprocessor, "preprocessor")


async def make_control_map(service: Service, image_id: str, preprocessor: Preprocessor, field: str) -> str:
    """Stores the control map of an input picture, and returns its id. `field` names the preprocessor in errors.

    Raises InvalidRequest, and what the worker raises.
    """
    make, images = PREPROCESSORS[preprocessor].make, service.images
    if make is None:
        networks = await asyncio.to_thread(service.model_manager.list_preprocessor_networks, preprocessor, field)
        return await service.model_manager.memory.make_map(networks, image_id)
    return await asyncio.to_thread(lambda: images.write_input(make(images.load_input(image_id))))
