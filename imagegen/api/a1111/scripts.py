"""The web UI's scripts, which are its extensions: the studio has ControlNet and ADetailer.

Others may be sent if they do nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema

from imagegen.api.a1111.adetailer import SCRIPT as ADETAILER
from imagegen.api.a1111.controlnet import SCRIPT as CONTROLNET

SCRIPTS = (ADETAILER, CONTROLNET)


def check_scripts(scripts: dict[str, Any] | None) -> dict[str, Any] | None:
    """Returns the always-on scripts of a request. Raises ValueError for one that would do something."""
    for name, script in (scripts or {}).items():
        arguments = script.get("args") if isinstance(script, Mapping) else script
        if name.casefold() not in SCRIPTS and arguments not in (None, [], {}):
            raise ValueError(f"must have no arguments for {name[:60]!r}: the scripts here are {', '.join(SCRIPTS)}")
    return scripts


AlwaysOnScripts = Annotated[
    dict[str, Any] | None,
    AfterValidator(check_scripts),
    WithJsonSchema({
        "type": ["object", "null"],
        "properties": {name: {"type": "object", "properties": {"args": {"type": "array"}}} for name in SCRIPTS},
        "additionalProperties": {"type": "object", "properties": {"args": {"enum": [[], None]}}},
    }),
    Field(
        description="Scripts by name. The args of controlnet and adetailer are units and tabs, as the extensions have"
        " them. Others must have no arguments: the studio does not have them."
    ),
]  # fmt: skip
