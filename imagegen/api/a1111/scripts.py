"""The web UI's scripts, which are its extensions: the studio has ControlNet. Others may be sent if they do nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema

from imagegen.api.a1111.controlnet import SCRIPT as CONTROLNET


def check_scripts(scripts: dict[str, Any] | None) -> dict[str, Any] | None:
    """Returns the always-on scripts of a request. Raises ValueError for one that would do something."""
    for name, script in (scripts or {}).items():
        if name.casefold() == CONTROLNET:
            continue
        arguments = script.get("args") if isinstance(script, Mapping) else script
        if not is_idle(name, arguments):
            raise ValueError(f"must have no arguments for {name[:60]!r}: ControlNet is the only script here")
    return scripts


def is_idle(name: str, arguments: Any) -> bool:
    """Returns whether a script with these arguments does nothing. ADetailer's first argument switches it on."""
    if arguments in (None, [], {}):
        return True
    match name.casefold(), arguments:
        case "adetailer", [False, *_]:
            return True
    return False


AlwaysOnScripts = Annotated[
    dict[str, Any] | None,
    AfterValidator(check_scripts),
    WithJsonSchema({
        "type": ["object", "null"],
        "properties": {CONTROLNET: {"type": "object", "properties": {"args": {"type": "array"}}}},
        "additionalProperties": {"type": "object", "properties": {"args": {"enum": [[], None]}}},
    }),
    Field(
        description="Scripts by name. The args of controlnet are units, as its extension has them. Others must have no"
        " arguments, or be switched off: the studio does not have them."
    ),
]  # fmt: skip
