"""Requests of OpenAI's image API that come as a form, in which each value is text or a file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.requests import Request

from imagegen.api.middleware.request_body import MAX_BODY_BYTES
from imagegen.api.openai.requests import OPENAI_NAMES, RESTRICTED_FIELDS, ImageRequest
from imagegen.errors import InvalidRequest
from imagegen.schema.reference_pictures import MAX_REFERENCES
from imagegen.schema.tasks import TASKS
from imagegen.schema.validation import describe_validation_error

# The input pictures that each form must have. It may have others.
REQUIRED_IMAGES = TASKS["image_to_image"].input_images
# The name of the first in a form.
START_IMAGE = OPENAI_NAMES[REQUIRED_IMAGES[0]]
JSON_TYPES = ("boolean", "integer", "number")
MEMBER_PATTERN = re.compile(r"(\w+)\[\]\[(\w+)\]")

AnyImageRequest = TypeVar("AnyImageRequest", bound=ImageRequest)


@dataclass(frozen=True)
class ImageForm:
    """The fields as they would be in JSON, and the files of the input pictures by field of the studio's request.

    `references` are the pictures after the start image.
    """

    fields: dict[str, Any]
    images: dict[str, bytes]
    references: Sequence[bytes] = ()

    @property
    def start_image(self) -> bytes:
        return next(iter(self.images.values()))


async def read_form(http: Request, model: type[ImageRequest]) -> ImageForm:
    """Returns the form of a request. Raises InvalidRequest."""
    if not http.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise InvalidRequest("body", "must be multipart/form-data")
    # Pictures in lists, such as those of controls, are texts. The whole body has a limit already.
    async with http.form(max_part_size=MAX_BODY_BYTES) as form:
        items = form.multi_items()
        uploads: dict[str, list[UploadFile | str]] = {name: [] for name in model.uploads.values()}
        for name, value in items:
            if name.removesuffix("[]") in uploads:
                uploads[name.removesuffix("[]")].append(value)
        references = uploads[START_IMAGE][1:] if model.takes_references else []
        uploads[START_IMAGE] = uploads[START_IMAGE][: len(uploads[START_IMAGE]) - len(references)]
        images = {
            field: await read_single_image(name, uploads[name])
            for field, name in model.uploads.items()
            if field in REQUIRED_IMAGES or uploads[name]
        }
        more_images = [await read_single_image(START_IMAGE, [upload]) for upload in references]
        others = [(name, value) for name, value in items if name.removesuffix("[]") not in uploads]
        return ImageForm(parse_form_fields(others, model), images, more_images)


async def read_single_image(name: str, uploads: list[UploadFile | str]) -> bytes:
    """Returns the file of a form's field. Raises InvalidRequest unless there is exactly one."""
    match uploads:
        case []:
            raise InvalidRequest(name, "is required")
        case [UploadFile() as file]:
            return await file.read()
        case [_]:
            raise InvalidRequest(name, "must be a file")
    raise InvalidRequest(name, "must be one picture")


def parse_form_fields(items: Iterable[tuple[str, UploadFile | str]], model: type[ImageRequest]) -> dict[str, Any]:
    """Returns the values by field, as they would be in JSON. Raises InvalidRequest.

    A list is JSON, or comes as OpenAI's clients send it: `embeddings[]` repeatedly, and a list of objects one member
    after the other: all `loras[][lora]`, and then all `loras[][weight]`. A list without text is empty.
    """
    schemas = read_value_schemas(model)
    texts: dict[str, list[str]] = {}
    for name, value in items:
        if isinstance(value, UploadFile):
            raise InvalidRequest(
                name, RESTRICTED_FIELDS[name][1] if name in RESTRICTED_FIELDS else "must not be a file"
            )
        texts.setdefault(name.removesuffix("[]"), []).append(value)
    members = {name: found for name in texts if (found := MEMBER_PATTERN.fullmatch(name))}
    values = {
        name: parse_form_value(name, sent, schemas.get(name, {})) for name, sent in texts.items() if name not in members
    }
    for field in {match[1] for match in members.values()}:
        columns = {part[2]: texts[name] for name, part in members.items() if part[1] == field}
        values[field] = parse_list_entries(field, columns, schemas.get(field, {}))
    return values


@cache
def read_value_schemas(model: type[ImageRequest]) -> dict[str, dict[str, Any]]:
    """Returns the JSON schema of each field's value when it is not null."""
    return {
        name: next((option for option in field.get("anyOf", [field]) if option["type"] != "null"), {})
        for name, field in model.model_json_schema()["properties"].items()
    }


def parse_form_value(name: str, texts: list[str], schema: dict[str, Any]) -> Any:
    """Returns the value of a field from its texts in the form. Raises InvalidRequest if it is there repeatedly."""
    if schema.get("type") == "array":
        parts = [part if isinstance(part := parse_json_or_text(text), list | dict) else text for text in texts if text]
        return parts[0] if len(parts) == 1 and isinstance(parts[0], list) else parts
    if len(texts) > 1:
        raise InvalidRequest(name, "is there more than once")
    return parse_json_or_text(texts[0]) if schema.get("type") in JSON_TYPES else texts[0]


def parse_list_entries(field: str, columns: Mapping[str, list[str]], schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the entries of a list of objects. Raises InvalidRequest unless all members have as many texts."""
    if len({len(column) for column in columns.values()}) > 1:
        raise InvalidRequest(field, "must have the same members in each entry, or be JSON")
    members = schema.get("items", {}).get("properties", {})
    rows = zip(*columns.values(), strict=True)
    return [
        {
            name: parse_json_or_text(text) if members.get(name, {}).get("type") in JSON_TYPES else text
            for name, text in zip(columns, row, strict=True)
        }
        for row in rows
    ]


def parse_json_or_text(text: str) -> Any:
    """Returns the value of the text as JSON, or the text itself if it is no JSON."""
    try:
        return json.loads(text.lower() if text.lower() in ("true", "false") else text)
    except (ValueError, RecursionError):
        return text


def validate_form(form: ImageForm, model: type[AnyImageRequest]) -> AnyImageRequest:
    """Returns the form's fields as a request. Raises InvalidRequest."""
    try:
        return model(**form.fields)
    except ValidationError as error:
        raise InvalidRequest(
            *describe_validation_error(error.errors(include_url=False, include_input=False)[0])
        ) from None


def build_form_schema(model: type[ImageRequest], example: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the JSON schema of a form for the documentation: without null and second names, with examples."""
    images = {
        name: {"type": "string", "format": "binary", "description": describe_upload(name, model)}
        for name in model.uploads.values()
    }
    form_schema = model.model_json_schema()
    properties = {name: field for name, field in form_schema["properties"].items() if field.get("type") != "null"}
    del properties["num_inference_steps"]
    form_schema["properties"] = images | {name: remove_null(field) for name, field in properties.items()}
    required_images = [model.uploads[field] for field in REQUIRED_IMAGES]
    form_schema["required"] = [*required_images, *form_schema.get("required", [])]
    for name, value in example.items():
        form_schema["properties"][name]["examples"] = [value]
    return form_schema


def describe_upload(name: str, model: type[ImageRequest]) -> str:
    text = f"One picture. It may also be called {name}[]."
    if name != START_IMAGE or not model.takes_references:
        return text
    return f"{text} For models that look at several pictures, up to {MAX_REFERENCES} others may follow it."


def remove_null(field: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = field["anyOf"][0] if "anyOf" in field else {}
    return {name: part for name, part in field.items() if name != "anyOf"} | value
