"""The web UI's scripts that extend the start image of img2img: their translation into outpainting.

A script's arguments are a list. The web UI fills up a shorter one with the script's own values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagegen.api.a1111.field_types import REQUEST_PROPERTIES, read_number
from imagegen.errors import InvalidRequest

# The request's field for each side by its name in the web UI.
SIDES = {"left": "extend_left", "right": "extend_right", "up": "extend_top", "down": "extend_bottom"}
NO_SCRIPT = ("", "none")


@dataclass(frozen=True)
class Script:
    """`arguments` are its arguments in their order, with the web UI's own values.

    Those in `fixed` have no meaning here, and must have one of the values there.
    """

    title: str
    arguments: Mapping[str, Any]
    fixed: Mapping[str, Sequence[Any]]


SCRIPTS = (
    Script(
        "Outpainting mk2",
        {
            "info": None,  # A text on the page, which the web UI counts as an argument.
            "pixels": 128,
            "mask_blur": 8,
            "direction": list(SIDES),
            "noise_q": 1,
            "color_variation": 0.05,
        },
        {"mask_blur": (8,), "noise_q": (1,), "color_variation": (0.05,)},
    ),
    Script(
        "Poor man's outpainting",
        {"pixels": 128, "mask_blur": 4, "inpainting_fill": 0, "direction": list(SIDES)},
        {"mask_blur": (4,), "inpainting_fill": (0, "fill")},
    ),
)
TITLES = tuple(script.title for script in SCRIPTS)


def find_script(name: Any) -> Script | None:
    """Returns the script of this name, in any letter case, None for no script. Raises InvalidRequest."""
    if name is None or (isinstance(name, str) and name.casefold() in NO_SCRIPT):
        return None
    for script in SCRIPTS:
        if isinstance(name, str) and name.casefold() == script.title.casefold():
            return script
    raise InvalidRequest("script_name", f"must be one of {', '.join(TITLES)}, or left out")


def build_extension_fields(script: Script, sent: Any) -> dict[str, Any]:
    """Returns the request's fields of a script with the arguments `sent`. Raises InvalidRequest with their names."""
    arguments = name_arguments(script, sent)
    for name, allowed in script.fixed.items():
        if isinstance(arguments[name], bool) or arguments[name] not in allowed:
            values = " or ".join(map(str, allowed))
            raise InvalidRequest(
                f"script_args.{name}", f"must be {values}: the studio makes the new part in a way of its own"
            )
    pixels, maximum = arguments["pixels"], REQUEST_PROPERTIES["extend_left"]["maximum"]
    if isinstance(pixels, bool) or not isinstance(pixels, int | float) or not 1 <= pixels <= maximum or pixels % 1:
        raise InvalidRequest("script_args.pixels", f"must be a whole number from 1 to {maximum}")
    directions = arguments["direction"]
    if not isinstance(directions, list) or not directions or any(side not in list(SIDES) for side in directions):
        raise InvalidRequest("script_args.direction", f"must be a list of at least one of {', '.join(SIDES)}")
    return {SIDES[side]: int(pixels) for side in directions}


def name_arguments(script: Script, sent: Any) -> dict[str, Any]:
    """Returns the arguments of a script by name. Raises InvalidRequest."""
    if not isinstance(sent, list | None):
        raise InvalidRequest("script_args", f"must be a list: {', '.join(script.arguments)}")
    if len(sent or ()) > len(script.arguments):
        raise InvalidRequest(
            "script_args", f"must have at most {len(script.arguments)} entries: {', '.join(script.arguments)}"
        )
    return {**script.arguments, **dict(zip(script.arguments, map(read_number, sent or ()), strict=False))}
