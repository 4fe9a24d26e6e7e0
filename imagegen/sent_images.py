"""Stores the pictures that come as text in a request of any API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from imagegen.errors import InvalidRequest
from imagegen.schema.base import User
from imagegen.schema.input_images import ENTRY_IMAGES, find_image_values, replace_images
from imagegen.schema.request import GenerationRequest
from imagegen.service import Service

REQUEST_PROPERTIES = GenerationRequest.model_json_schema()["properties"]


async def store_encoded_images(service: Service, fields: Mapping[str, Any], user: User) -> dict[str, Any]:
    """Returns the fields of a request with the id of a stored picture for each input picture.

    Pictures come in base64 or as a data URI, or as the id of one of the user's. Raises InvalidRequest and
    TooManyRequests.
    """

    async def store(value: Any, place: str) -> str:
        if not isinstance(value, str):
            raise InvalidRequest(place, "must be text")
        return await service.add_encoded_input(value, user, place)

    return await store_images(fields, store)


async def store_images(fields: Mapping[str, Any], store: Callable[[Any, str], Awaitable[str]]) -> dict[str, Any]:
    """Returns the fields of a request with what `store` returns for each input picture and its place.

    Raises InvalidRequest for a list with too many entries, before any picture is stored.
    """
    for field in ENTRY_IMAGES:
        entries, limit = fields.get(field), REQUEST_PROPERTIES[field]["maxItems"]
        if isinstance(entries, list | tuple) and len(entries) > limit:
            raise InvalidRequest(field, f"must have at most {limit} entries")
    found = find_image_values(fields)
    return replace_images(fields, {place: await store(value, place) for place, value in found.items()})
