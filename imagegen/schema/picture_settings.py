"""What a picture file says of how it was made, in the studio's terms: the answer of `png_info` in every API."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from imagegen.schema.base import FrozenModel

# "matched": the studio has the same. "mapped": it has something that differs, as the note says. "missing": it has not.
FieldStatus = Literal["matched", "mapped", "missing"]


class PictureField(FrozenModel):
    """One setting in a picture file, and what became of it."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    field: str | None = Field(description="The field of a request; null for a setting that the studio does not have.")
    value: Any = Field(None, description="The value of the field; null if it is missing here.")
    source: str = Field(alias="from", description="What the tool calls the setting.")
    found: str = Field(description="What the file says, as text, cut at 300 characters.")
    status: FieldStatus = Field(
        description="matched: the studio has the same. mapped: it has something that differs, as the note says."
        " missing: it has not, and `settings` leave it out."
    )
    note: str = Field("", description="What differs, in a sentence; empty if nothing does.")


class PictureSettings(FrozenModel):
    """`settings` are fields of a request that is valid as it is."""

    tool: str | None = Field(description="What made the picture; null if the file does not say how it was made.")
    version: str | None = Field(None, description="The version of the tool, as it says.")
    settings: dict[str, Any] = Field(description="The fields of a request for such a picture.")
    fields: tuple[PictureField, ...] = Field(description="The settings in the file, and what became of each.")
