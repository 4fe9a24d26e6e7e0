"""The units of the web UI's ControlNet extension, and their translation into controls of the studio's request.

https://github.com/Mikubill/sd-webui-controlnet/wiki/API. Values are checked by the fields of the request that they are
mapped to. What would change the map or the picture, and cannot be done here, is refused by name.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagegen.api.a1111.start_image import stretch
from imagegen.errors import InvalidRequest
from imagegen.media.base64_images import decode_base64_image
from imagegen.media.control_maps.canny import HIGH, LOW
from imagegen.media.control_maps.colors import TILE_RATE
from imagegen.media.control_maps.preprocessors import PREPROCESSORS
from imagegen.media.metadata.infotext import CONTROL_MODES
from imagegen.schema.base import User
from imagegen.schema.controls import MAX_CONTROLS, ControlMode, ControlType, Preprocessor
from imagegen.schema.models import AdapterInfo
from imagegen.service import Service

SCRIPT = "controlnet"
# The fields of a control and of a reference picture, and their names in a unit.
UNIT_NAMES = {
    "controlnet": "model",
    "ip_adapter": "model",
    "weight": "weight",
    "start": "guidance_start",
    "end": "guidance_end",
    "preprocessor": "module",
    "mode": "control_mode",
    "control_type": "union_control_type",
}
IMAGE_NAMES = ("image", "input_image")
MODES_BY_NAME: Mapping[str, ControlMode] = {name: mode for mode, name in CONTROL_MODES.items()}
# The web UI's names for what a control map shows. They matter to union ControlNets only.
TYPES_BY_NAME: Mapping[str, ControlType | None] = {
    "Unknown": None,
    "All": None,
    "OpenPose": "pose",
    "Depth": "depth",
    "Soft Edge": "softedge",
    "Hard Edge": "canny",
    "Normal Map": "normal",
    "Segmentation": "segmentation",
    "Tile": "tile",
}
# The second is the default.
RESIZE_MODES = ("Just Resize", "Crop and Resize")
# The values of other fields that change nothing, besides None. Fields that are not here are ignored.
IDLE_VALUES: Mapping[str, tuple[Any, ...]] = {
    "mask": ("",),
    "mask_image": ("",),
    "effective_region_mask": ("",),
    "guidance": (1,),
    "advanced_weighting": ([],),
    "hr_option": ("Both", "HiResFixOption.BOTH", 0),
}
# What both thresholds of a module must be, if they are sent: its own, as -1 also means. Other modules have none.
THRESHOLDS: Mapping[str, tuple[float, float]] = {"canny": (LOW, HIGH), "tile_resample": (TILE_RATE, -1)}
# With one of these thresholds, this module returns the picture unchanged.
IDLE_TILE, IDLE_THRESHOLDS = "tile_resample", (None, -1, 0, 1)
HASH_PATTERN = re.compile(r" \[[0-9a-f]{8}\]$")
MODULES: Mapping[str, Preprocessor] = {
    name: key for key, each in PREPROCESSORS.items() for name in (key, *each.a1111_names)
}


# Which of them a unit names makes no difference: the file of an IP-Adapter says which image encoder it needs.
IP_ADAPTER_MODULES = (
    "ip-adapter-auto",
    "ip-adapter_clip_sd15",
    "ip-adapter_clip_h",
    "ip-adapter_clip_g",
    "ip-adapter_clip_sdxl",
    "ip-adapter_clip_sdxl_plus_vith",
)


@dataclass(frozen=True)
class Unit:
    """A unit that is switched on, and its place in the list."""

    number: int
    fields: Mapping[str, Any]

    @property
    def is_reference(self) -> bool:
        """Whether it is an IP-Adapter with a reference picture, instead of a control."""
        return str(self.fields.get("module")).lower() in IP_ADAPTER_MODULES


def find_units(scripts: Mapping[str, Any] | None) -> list[Unit]:
    """Returns the units of a request's scripts that are switched on. Raises InvalidRequest."""
    script = next((value for name, value in (scripts or {}).items() if name.casefold() == SCRIPT), None)
    units = script.get("args") if isinstance(script, Mapping) else script
    if units is None:
        return []
    if not isinstance(units, list) or not all(isinstance(unit, Mapping) for unit in units):
        raise InvalidRequest("alwayson_scripts", f"must have a list of objects as the args of {SCRIPT}")
    return [Unit(number, unit) for number, unit in enumerate(units) if unit.get("enabled") is not False]


async def store_controls(
    service: Service, scripts: Mapping[str, Any] | None, start_image: str | None, size: tuple[int, int], user: User
) -> list[dict[str, Any]]:
    """Returns the controls in a request's scripts, with their pictures stored.

    `start_image` is that of img2img in base64, which units without a picture take; `size` is the request's, in pixels.
    Raises InvalidRequest.
    """
    units = [unit.fields for unit in find_units(scripts) if not unit.is_reference]
    if len(units) > MAX_CONTROLS:
        raise InvalidRequest("controls", f"must have at most {MAX_CONTROLS} units that are switched on")
    infos = await asyncio.to_thread(service.model_manager.list_adapters, "controlnet") if units else []
    return [
        await store_control(service, unit, f"controls[{number}]", infos, start_image, size, user)
        for number, unit in enumerate(units)
    ]


async def store_control(
    service: Service,
    unit: Mapping[str, Any],
    place: str,
    infos: Sequence[AdapterInfo],
    start_image: str | None,
    size: tuple[int, int],
    user: User,
) -> dict[str, Any]:
    """Raises InvalidRequest."""
    check_idle_fields(unit, place)
    picture = find_picture(unit, start_image, f"{place}.image")
    content = await asyncio.to_thread(decode_base64_image, picture, f"{place}.image")
    if find_choice(unit.get("resize_mode"), RESIZE_MODES, 1, f"{place}.resize_mode") == RESIZE_MODES[0]:
        content = await asyncio.to_thread(stretch, content, size, f"{place}.image")
    mode = find_choice(unit.get("control_mode"), tuple(MODES_BY_NAME), 0, f"{place}.mode")
    control_type = find_choice(unit.get("union_control_type"), tuple(TYPES_BY_NAME), 0, f"{place}.control_type")
    controlnet = find_network(unit.get("model"), infos, f"{place}.controlnet")
    is_union = any(info.control_types for info in infos if info.id == controlnet)
    control = {
        "controlnet": controlnet,
        "image": await service.add_input(content, user, f"{place}.image"),
        "weight": unit.get("weight"),
        "start": unit.get("guidance_start"),
        "end": unit.get("guidance_end"),
        "preprocessor": find_preprocessor(
            unit.get("module"), unit.get("threshold_a"), unit.get("threshold_b"), f"{place}.", "preprocessor"
        ),
        "mode": MODES_BY_NAME[mode],
        "control_type": TYPES_BY_NAME[control_type] if is_union else None,
    }
    return {name: value for name, value in control.items() if value is not None}


def check_idle_fields(unit: Mapping[str, Any], place: str) -> None:
    """Raises InvalidRequest for a field that would change something, and that the studio does not have."""
    for name, values in IDLE_VALUES.items():
        value = unit.get(name)
        if value is not None and value not in values:
            raise InvalidRequest(f"{place}.{name}", "cannot be used here; leave it out")


def find_picture(unit: Mapping[str, Any], start_image: str | None, place: str) -> str:
    """Returns the picture of a unit in base64, else the start image. Raises InvalidRequest."""
    sent = next((unit[name] for name in IMAGE_NAMES if unit.get(name)), None)
    if isinstance(sent, Mapping):  # A picture and a mask, as the web UI's page sends them.
        sent = sent.get("image")
    picture = sent or start_image
    if not picture:
        raise InvalidRequest(place, "is required")
    if not isinstance(picture, str):
        raise InvalidRequest(place, "must be a picture in base64")
    return picture


def find_network(model: Any, infos: Sequence[AdapterInfo], place: str) -> str:
    """Returns the network with a name or an id, without the hash that the web UI appends. Raises InvalidRequest."""
    if not isinstance(model, str) or model in ("", "None"):
        raise InvalidRequest(place, "is required: a name from /controlnet/model_list")
    name = HASH_PATTERN.sub("", model)
    return next((info.id for info in infos if name in (info.id, info.name)), name)


def find_preprocessor(module: Any, threshold_a: Any, threshold_b: Any, prefix: str, field: str) -> Preprocessor:
    """Returns the preprocessor that a module of the web UI with these thresholds is.

    `prefix` comes before the names of the thresholds in errors; the module is `prefix` and `field`. Raises
    InvalidRequest.
    """
    name = "none" if module is None else str(module).lower()
    if name not in MODULES:
        raise InvalidRequest(f"{prefix}{field}", f"must be one of {', '.join(MODULES)}")
    if name == IDLE_TILE and threshold_a in IDLE_THRESHOLDS:
        return "none"
    own = THRESHOLDS.get(name, ())
    sent = {"threshold_a": threshold_a, "threshold_b": threshold_b}
    for (threshold, value), allowed in zip(sent.items(), own, strict=False):
        if value not in (None, -1, allowed):
            raise InvalidRequest(f"{prefix}{threshold}", f"must be {allowed:g} for {name}")
    return MODULES[name]


def find_choice(sent: Any, names: Sequence[str], default: int, place: str) -> str:
    """Returns the name that was sent, or whose number was; the one with the number `default` for None.

    Raises InvalidRequest.
    """
    if sent is None:
        return names[default]
    numbered = {number: name for number, name in enumerate(names) if sent == number and not isinstance(sent, bool)}
    found = next(iter(numbered.values()), sent)
    if found not in names:
        raise InvalidRequest(place, f"must be one of {', '.join(names)}")
    return str(found)
