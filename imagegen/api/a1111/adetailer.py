"""The tabs of the web UI's ADetailer extension, and their translation into the request's fields for details.

https://github.com/Bing-su/adetailer/wiki/REST-API. Values are checked by the fields of the request that they are mapped
to. What would change the picture, and cannot be done here, is refused by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from imagegen.api.a1111.field_types import read_number
from imagegen.errors import InvalidRequest
from imagegen.library.detectors import FACE_MODEL_PATTERN, FACES
from imagegen.model_manager import ModelManager
from imagegen.schema.models import AdapterInfo
from imagegen.schema.prompt_tags import TAG_PATTERN

SCRIPT = "adetailer"
NAME = "ADetailer"
# The request's fields, and their names in a tab.
TAB_NAMES = {
    "detail_detector": "ad_model",
    "detail_label": "ad_model_classes",
    "detail_prompt": "ad_prompt",
    "detail_strength": "ad_denoising_strength",
    "detail_confidence": "ad_confidence",
    "detail_padding": "ad_inpaint_only_masked_padding",
}
NUMBERS = ("detail_strength", "detail_confidence", "detail_padding")
# Parts of a prompt that the extension replaces.
PROMPT_WORDS = ("[SEP]", "[SKIP]", "[PROMPT]")
# The values of other fields that change nothing, besides None. Fields that are not here are ignored.
IDLE_VALUES: Mapping[str, tuple[Any, ...]] = {
    "ad_negative_prompt": ("",),
    "ad_mask_filter_method": ("Area",),
    "ad_mask_k": (0,),
    "ad_mask_k_largest": (0,),
    "ad_mask_min_ratio": (0,),
    "ad_mask_max_ratio": (1,),
    "ad_dilate_erode": (4,),
    "ad_x_offset": (0,),
    "ad_y_offset": (0,),
    "ad_mask_merge_invert": ("None",),
    "ad_mask_blur": (4,),
    "ad_inpaint_only_masked": (True,),
    "ad_use_inpaint_width_height": (False,),
    "ad_use_steps": (False,),
    "ad_use_cfg_scale": (False,),
    "ad_use_checkpoint": (False,),
    "ad_use_vae": (False,),
    "ad_use_sampler": (False,),
    "ad_use_noise_multiplier": (False,),
    "ad_use_clip_skip": (False,),
    "ad_restore_face": (False,),
    "ad_controlnet_model": ("None", "Passthrough"),
}


async def build_detail_fields(model_manager: ModelManager, scripts: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns the request's fields of the tab that is switched on in a request's scripts; none without one.

    Raises InvalidRequest.
    """
    tabs = find_tabs(scripts)
    if not tabs:
        return {}
    if len(tabs) > 1:
        raise InvalidRequest(NAME, "must have at most one tab that is switched on")
    (tab,) = tabs
    for name, values in IDLE_VALUES.items():
        if tab.get(name) is not None and tab[name] not in values:
            raise InvalidRequest(f"{NAME}.{name}", f"must be {values[0]!r} or left out: there is nothing else here")
    check_prompt(tab.get("ad_prompt"))
    detectors = await asyncio.to_thread(model_manager.list_adapters, "detector")
    fields = {field: tab.get(name) for field, name in TAB_NAMES.items()}
    fields |= {field: read_number(fields[field]) for field in NUMBERS}
    return fields | {"detail_detector": find_detector(tab["ad_model"], detectors)}


def find_tabs(scripts: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """Returns the tabs that are switched on and have a model.

    Before the tabs, the extension has whether it is on, and whether to leave out img2img itself. Raises InvalidRequest.
    """
    script = next((value for name, value in (scripts or {}).items() if name.casefold() == SCRIPT), None)
    args = script.get("args") if isinstance(script, Mapping) else script
    if args is None:
        return []
    if not isinstance(args, list) or not all(isinstance(each, bool | Mapping) for each in args):
        raise InvalidRequest(NAME, "must have a list of objects as its args, after true or false")
    switches = [each for each in args if isinstance(each, bool)]
    tabs = [each for each in args if isinstance(each, Mapping)]
    if switches and not switches[0]:
        return []
    if any(switches[1:]):
        raise InvalidRequest(NAME, "must not skip img2img: its second argument must be false")
    return [tab for tab in tabs if tab.get("ad_tab_enable") is not False and tab.get("ad_model") not in (None, "None")]


def check_prompt(prompt: Any) -> None:
    """Raises InvalidRequest for a prompt with what the extension would replace, and with LoRAs of its own."""
    if not isinstance(prompt, str):
        return
    word = next((word for word in PROMPT_WORDS if word in prompt), None)
    if word is not None:
        raise InvalidRequest(f"{NAME}.ad_prompt", f"must not contain {word}: it is one prompt for all parts")
    if TAG_PATTERN.search(prompt):
        raise InvalidRequest(f"{NAME}.ad_prompt", "must not contain LoRAs: parts are painted with those of the prompt")


def find_detector(model: Any, detectors: Sequence[AdapterInfo]) -> Any:
    """Returns the detector with a name or an id, and the studio's own for one of the extension's for faces."""
    found = next((info.id for info in detectors if model in (info.id, info.name)), None)
    if found is None and isinstance(model, str) and FACE_MODEL_PATTERN.fullmatch(model):
        return FACES
    return found or model
