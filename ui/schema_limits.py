"""The limits of the request's fields."""

from __future__ import annotations

from typing import Any

from imagegen.schema.request import GenerationRequest

SCHEMA_PROPERTIES = GenerationRequest.model_json_schema()["properties"]


def get_field_schema(name: str) -> dict[str, Any]:
    """Returns the JSON schema of a field's value when it is not null."""
    schema: dict[str, Any] = SCHEMA_PROPERTIES[name]
    return next((option for option in schema.get("anyOf", []) if option.get("type") != "null"), schema)
