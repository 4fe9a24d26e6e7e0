"""The units of the web UI's ControlNet extension that are IP-Adapters: their translation into reference pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from imagegen.api.a1111.controlnet import (
    MODES_BY_NAME,
    SCRIPT,
    Unit,
    check_idle_fields,
    find_choice,
    find_network,
    find_picture,
    find_units,
)
from imagegen.errors import InvalidRequest
from imagegen.media.base64_images import decode_base64_image
from imagegen.schema.base import User
from imagegen.schema.models import AdapterInfo
from imagegen.schema.reference_pictures import MAX_REFERENCES
from imagegen.service import Service

# What of a unit must be left as it is: an IP-Adapter has a part in each step.
IDLE_SHARES: Mapping[str, int] = {"guidance_start": 0, "guidance_end": 1}


async def store_references(
    service: Service, scripts: Mapping[str, Any] | None, start_image: str | None, user: User
) -> list[dict[str, Any]]:
    """Returns the reference pictures in a request's scripts, which are stored.

    `start_image` is that of img2img in base64, which units without a picture take. Raises InvalidRequest.
    """
    units = [unit for unit in find_units(scripts) if unit.is_reference]
    if len(units) > MAX_REFERENCES:
        raise InvalidRequest("references", f"must have at most {MAX_REFERENCES} units that are IP-Adapters")
    infos = await asyncio.to_thread(service.model_manager.list_adapters, "ip_adapter") if units else []
    return [
        await store_reference(service, unit, f"references[{number}]", infos, start_image, user)
        for number, unit in enumerate(units)
    ]


async def store_reference(
    service: Service,
    unit: Unit,
    place: str,
    infos: Sequence[AdapterInfo],
    start_image: str | None,
    user: User,
) -> dict[str, Any]:
    """Raises InvalidRequest."""
    fields = unit.fields
    check_idle_fields(fields, place)
    for name, share in IDLE_SHARES.items():
        if fields.get(name) not in (None, share):
            raise InvalidRequest(f"{place}.{name}", f"must be {share} for an IP-Adapter")
    balanced, *_ = MODES_BY_NAME
    if find_choice(fields.get("control_mode"), tuple(MODES_BY_NAME), 0, f"{place}.mode") != balanced:
        raise InvalidRequest(f"{place}.mode", f"must be {balanced} for an IP-Adapter")
    picture = find_picture(fields, start_image, f"{place}.image")
    content = await asyncio.to_thread(decode_base64_image, picture, f"{place}.image")
    reference = {
        "image": await service.add_input(content, user, f"{place}.image"),
        "ip_adapter": find_network(fields.get("model"), infos, f"{place}.ip_adapter"),
        "weight": fields.get("weight"),
    }
    return {name: value for name, value in reference.items() if value is not None}


def name_unit(scripts: Mapping[str, Any] | None, field: str, number: int) -> str:
    """Returns the place in a request's scripts of the unit that became the entry `number` of a field."""
    units = [unit for unit in find_units(scripts) if unit.is_reference == (field == "references")]
    return f"alwayson_scripts.{SCRIPT}.args[{units[number].number if number < len(units) else number}]"
