"""The web UI's second pass (hires fix): its fields, and their translation into a request of the studio."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StrictBool

from imagegen.api.a1111.field_types import READ_NUMBER, MapsTo, build_json_schema
from imagegen.api.a1111.unknown_fields import OpenModel
from imagegen.errors import InvalidRequest
from imagegen.schema.field_types import MAX_HIRES_SCALE, PrintableText
from imagegen.schema.sizes import Size

# The web UI's.
DEFAULT_STRENGTH = 0.75
SIDE_SCHEMA = {"type": ["integer", "null"], "minimum": 0, "description": "0: as hr_scale says."}
# How much the proportions of hr_resize_x and hr_resize_y may differ from those of width and height.
PROPORTION_TOLERANCE = 0.03
# Settings of the second pass alone, with the values that leave it those of the first.
SAME_SETTINGS: dict[str, tuple[Any, ...]] = {
    "hr_checkpoint_name": ("", "Use same checkpoint"),
    "hr_sampler_name": ("", "Use same sampler"),
    "hr_scheduler": ("", "Use same scheduler"),
    "hr_prompt": ("",),
    "hr_negative_prompt": ("",),
    "hr_additional_modules": ([], ["Use same choices"]),
}


# The web UI's names for the request's fields.
HIRES_NAMES = {
    "hires_scale": "hr_scale",
    "hires_steps": "hr_second_pass_steps",
    "hires_strength": "denoising_strength",
    "hires_upscaler": "hr_upscaler",
}


class HiresFields(OpenModel):
    """The fields that only txt2img has."""

    enable_hr: StrictBool | None = Field(False, description="Whether to make the picture larger and paint it again.")
    hr_scale: Annotated[Any, READ_NUMBER, MapsTo("hires_scale")] = 2
    hr_upscaler: PrintableText | None = Field(None, description="Latent, or a name from upscalers.")
    hr_second_pass_steps: Annotated[Any, READ_NUMBER, MapsTo("hires_steps")] = 0
    hr_resize_x: Annotated[Any, READ_NUMBER, build_json_schema(**SIDE_SCHEMA)] = 0
    hr_resize_y: Annotated[Any, READ_NUMBER, build_json_schema(**SIDE_SCHEMA)] = 0
    denoising_strength: Annotated[Any, READ_NUMBER, MapsTo("hires_strength")] = None


def build_hires_fields(body: HiresFields, cfg_scale: Any, size: Size) -> dict[str, Any]:
    """Returns the request's fields for a second pass, if there is one. `size` is that of the first.

    Raises InvalidRequest.
    """
    if not body.enable_hr:
        return {}
    for name, usual in SAME_SETTINGS.items():
        if getattr(body, name, None) not in (None, *usual):
            raise InvalidRequest(name, "must be left out: the second pass has the settings of the first")
    if getattr(body, "hr_cfg", None) not in (None, 0, cfg_scale):
        raise InvalidRequest("hr_cfg", "must be cfg_scale: the second pass has the settings of the first")
    return {
        "hires_scale": compute_scale(body, size),
        "hires_steps": body.hr_second_pass_steps,
        "hires_strength": DEFAULT_STRENGTH if body.denoising_strength is None else body.denoising_strength,
        "hires_upscaler": body.hr_upscaler or None,
    }


def compute_scale(body: HiresFields, size: Size) -> Any:
    """Returns the factor, of hr_scale or to the size in hr_resize_x and hr_resize_y. Raises InvalidRequest."""
    sides = {"hr_resize_x": size[0], "hr_resize_y": size[1]}
    scales: dict[str, float] = {}
    for name, side in sides.items():
        wanted = getattr(body, name)
        if wanted in (None, 0):
            continue
        scale = wanted / side if isinstance(wanted, int) and not isinstance(wanted, bool) else 0
        if not 1 < scale <= MAX_HIRES_SCALE:
            raise InvalidRequest(name, f"must be more than {side} and at most {side * MAX_HIRES_SCALE}, or 0")
        scales[name] = scale
    if len(scales) == 2 and max(scales.values()) > min(scales.values()) * (1 + PROPORTION_TOLERANCE):
        raise InvalidRequest("hr_resize_y", "must be in the proportions of width and height, or 0")
    if scales:
        return max(scales.values())
    if body.hr_scale == 1:
        raise InvalidRequest("hr_scale", "must be greater than 1")
    return body.hr_scale
