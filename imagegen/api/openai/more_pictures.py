"""The pictures that follow the start image in a form: the reference pictures of models that look at several."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from imagegen.api.openai.aliases import find_model
from imagegen.api.openai.forms import START_IMAGE, ImageForm
from imagegen.api.openai.requests import ImageRequest
from imagegen.api.studio_fields import rename_error_fields
from imagegen.errors import InvalidRequest
from imagegen.schema.base import User
from imagegen.schema.reference_pictures import MAX_REFERENCES
from imagegen.service import Service


async def store_more_pictures(service: Service, form: ImageForm, body: ImageRequest, user: User) -> list[str]:
    """Returns the ids of the pictures after the start image, which are stored.

    Raises InvalidRequest for more of them than the model looks at, before any is stored, and for one that is none.
    """
    if not form.references:
        return []
    sent = body.model_dump(include={"model", "references"})
    name, aliases = sent["model"] if isinstance(sent["model"], str) else None, service.settings.openai_aliases
    model, _, _ = await asyncio.to_thread(find_model, name, service.model_manager, aliases)
    if not model.can.references or model.can.ip_adapters:
        raise InvalidRequest(START_IMAGE, f"must be one picture with the model {model.id}")
    most = MAX_REFERENCES + 1 - len(sent["references"] or ())
    if len(form.references) >= most:
        raise InvalidRequest(START_IMAGE, f"must be at most {most} pictures")
    places = [f"references[{number}].image" for number in range(len(form.references))]
    with rename_error_fields(dict.fromkeys(places, START_IMAGE)):
        pictures = zip(form.references, places, strict=True)
        return [await service.add_input(picture, user, place) for picture, place in pictures]


def add_references(lists: Mapping[str, Any], images: Sequence[str]) -> dict[str, Any]:
    """Returns the lists of a request, by field, with stored pictures in front of its reference pictures."""
    own = lists.get("references") or ()
    return {**lists, "references": [*({"image": image} for image in images), *own]} if images else dict(lists)
