"""The studio's request fields in the request models of APIs that other programs define."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import Field

from imagegen.errors import InvalidRequest, attribute_errors_to
from imagegen.schema.input_images import ENTRY_IMAGES, get_entry_type
from imagegen.schema.request import GenerationRequest

STUDIO_PROPERTIES = GenerationRequest.model_json_schema()["properties"]


def build_studio_field(name: str, default: Any = None, **metadata: str) -> Any:
    """Returns a field with the documentation of a field of GenerationRequest, which checks it; null leaves it open."""
    schema = dict(STUDIO_PROPERTIES[name])
    if (entry := get_entry_type(name)) is not None:
        schema["items"] = entry.model_json_schema()
        for image in ENTRY_IMAGES.get(name, ()):  # It may come in base64.
            del schema["items"]["properties"][image]["pattern"]
    metadata = {part: schema.pop(part) for part in ("description", "default") if part in schema} | metadata
    del schema["title"]
    if default is None and "anyOf" not in schema:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return Field(default, json_schema_extra={**metadata, **schema})


@contextmanager
def rename_error_fields(names: Mapping[str, str]) -> Iterator[None]:
    """Renames the field of an InvalidRequest that is raised inside to the name under which it was sent."""
    try:
        yield
    except InvalidRequest as error:
        with attribute_errors_to(names.get(error.field, error.field)):
            raise
