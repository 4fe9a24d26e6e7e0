"""Markers on the fields of a request, from which refusals, forms, uploads and documentation are made.

A marker stands in the field's annotation, such as `Annotated[float, Needs("step_cache")]`. Pydantic keeps it in
`model_fields[name].metadata` and does nothing with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

ImageMode = Literal["rgb", "rgba", "mask"]
Marker = TypeVar("Marker")


@dataclass(frozen=True)
class Needs:
    """The field needs this capability of the model: the name of a field of Capabilities.

    The field's default asks for nothing, and neither does the value `neutral`.
    """

    capability: str
    neutral: Any = None


@dataclass(frozen=True)
class Requires:
    """The field can only be used together with this other field."""

    field: str


@dataclass(frozen=True)
class InputImage:
    """The field holds the id of a stored input picture.

    `mode` says what the picture is: `rgb` a picture, `rgba` a picture whose alpha channel is kept, `mask` a mask, whose
    white is painted anew.
    """

    mode: ImageMode


def find_marked_fields(model: type[BaseModel], marker: type[Marker]) -> dict[str, Marker]:
    """Returns the marker of each field of `model` that has one of this type, by field name, in the fields' order."""
    return {
        name: found
        for name, field in model.model_fields.items()
        for found in field.metadata
        if isinstance(found, marker)
    }
