"""The types of fields that are mapped to a field of the studio's request, which checks their values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import BeforeValidator, GetJsonSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema

from imagegen.schema.request import GenerationRequest

REQUEST_PROPERTIES = GenerationRequest.model_json_schema()["properties"]
NUMBER_PATTERN = re.compile(r"\s*[+-]?(\d{1,20}|\d{0,20}\.\d{0,20})\s*")


@dataclass(frozen=True)
class MapsTo:
    """The field is the request's field `field` under another name or the same, and has its JSON schema."""

    field: str

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = REQUEST_PROPERTIES[self.field]
        return {key: value for key, value in schema.items() if key not in ("title", "default")}


def build_json_schema(**keywords: Any) -> WithJsonSchema:
    return WithJsonSchema(keywords)


def read_number(value: Any) -> Any:
    """Returns a number for a text that is one, as the web UI accepts it, and any other value unchanged."""
    if isinstance(value, str) and NUMBER_PATTERN.fullmatch(value) and any(map(str.isdigit, value)):
        return float(value) if "." in value else int(value)
    return value


READ_NUMBER = BeforeValidator(read_number)
