"""Answers what a picture file says of how it was made."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice

from imagegen.errors import InvalidRequest, UnknownPicture
from imagegen.media.metadata.file_texts import read_all_texts
from imagegen.media.metadata.found import FoundSettings
from imagegen.media.metadata.readers.table import find_settings
from imagegen.picture_settings.resolution import Resolution
from imagegen.schema.base import User
from imagegen.schema.input_images import find_image_values
from imagegen.schema.picture_settings import PictureSettings
from imagegen.service import Service

MAX_IMAGE_IDS = 32


async def read_picture_settings(
    service: Service, content: bytes, user: User, model: str | None = None
) -> PictureSettings:
    """Returns the settings in a picture file, under the fields of a request.

    `model` is the one for pictures whose own is not here; the default one for None. Raises InvalidRequest.
    """
    found = await asyncio.to_thread(find_file_settings, content)
    if found is None:
        return PictureSettings(tool=None, settings={}, fields=())
    # A list with more of them than a request can have is refused whole.
    named = islice(dict.fromkeys(list_image_ids(found)), MAX_IMAGE_IDS)
    gone = {image_id for image_id in named if not await owns_picture(service, image_id, user)}
    return await asyncio.to_thread(resolve_settings, service, found, model, gone)


def find_file_settings(content: bytes) -> FoundSettings | None:
    """Raises InvalidRequest."""
    return find_settings(read_all_texts(content))


def resolve_settings(service: Service, found: FoundSettings, model: str | None, gone: set[str]) -> PictureSettings:
    """Reads the disk. Raises InvalidRequest for a `model` that is not here."""
    manager = service.model_manager
    info, _ = manager.resolve_model(model)
    return Resolution(manager, info, gone).resolve(found)


def list_image_ids(found: FoundSettings) -> Iterator[str]:
    """Yields the ids of the input pictures that settings name."""
    for setting in found.settings:
        if setting.kind is not None:
            values = find_image_values({setting.kind: setting.value}).values()
            yield from (str(value) for value in values)


async def owns_picture(service: Service, image_id: str, user: User) -> bool:
    try:
        await service.get_input_path(image_id, user)
    except (UnknownPicture, InvalidRequest):
        return False
    return True
