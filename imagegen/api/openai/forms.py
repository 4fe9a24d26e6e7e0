"""Pictures and fields that come as a form: everything in it is text or a file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeVar

from PIL import Image
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.requests import Request

from imagegen.api.openai.requests import FIXED, Asked
from imagegen.errors import InvalidRequest
from imagegen.images import BROKEN, TOO_LARGE
from imagegen.validation import first_problem

IMAGE = ("image", "image[]")
NUMBERS = (
    "n", "steps", "num_inference_steps", "seed", "guidance_scale", "strength", "clip_skip", "step_cache",
    "output_compression", "partial_images", "stream",
)  # fmt: skip
LISTS = ("loras", "embeddings")
MEMBER = re.compile(r"(\w+)\[\]\[(\w+)\]")

AnyAsked = TypeVar("AnyAsked", bound=Asked)


@dataclass(frozen=True)
class Form:
    fields: dict[str, Any]
    image: bytes


async def received(http: Request) -> Form:
    """Raises InvalidRequest."""
    if not http.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise InvalidRequest("body", "must be multipart/form-data")
    async with http.form() as form:
        items = form.multi_items()
        image = await the_image([value for name, value in items if name in IMAGE])
        return Form(fields((name, value) for name, value in items if name not in IMAGE), image)


async def the_image(sent: list[UploadFile | str]) -> bytes:
    """Raises InvalidRequest unless there is one, as a file."""
    match sent:
        case []:
            raise InvalidRequest("image", "is required")
        case [UploadFile() as file]:
            return await file.read()
        case [_]:
            raise InvalidRequest("image", "must be a file")
    raise InvalidRequest("image", "must be one picture")


def fields(items: Iterable[tuple[str, UploadFile | str]]) -> dict[str, Any]:
    """Names and values, as they would be in JSON. Raises InvalidRequest.

    Lists may be JSON, or come as OpenAI's clients send them: `embeddings[]` again and again, and of what has members,
    first all of one member, `loras[][lora]`, and then all of the next, `loras[][weight]`. Without text, they are empty.
    """
    texts: dict[str, list[str]] = {}
    for name, value in items:
        if isinstance(value, UploadFile):
            raise InvalidRequest(name, FIXED[name][1] if name in FIXED else "must not be a file")
        texts.setdefault(name.removesuffix("[]"), []).append(value)
    members = {name: found for name in texts if (found := MEMBER.fullmatch(name))}
    values = {name: plain(name, sent) for name, sent in texts.items() if name not in members}
    for field in {found[1] for found in members.values()}:
        values[field] = entries(field, {part[2]: texts[name] for name, part in members.items() if part[1] == field})
    return values


def plain(name: str, sent: list[str]) -> Any:
    """Raises InvalidRequest."""
    if name in LISTS:
        parts = [part if isinstance(part := decoded(text), list | dict) else text for text in sent if text]
        return parts[0] if len(parts) == 1 and isinstance(parts[0], list) else parts
    if len(sent) > 1:
        raise InvalidRequest(name, "is there more than once")
    return decoded(sent[0]) if name in NUMBERS else sent[0]


def entries(field: str, columns: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """Raises InvalidRequest when nobody can tell which entry a member belongs to."""
    if len({len(column) for column in columns.values()}) > 1:
        raise InvalidRequest(field, "must have the same members in each entry, or be JSON")
    rows = zip(*columns.values(), strict=True)
    return [
        {name: text if name == "lora" else decoded(text) for name, text in zip(columns, row, strict=True)}
        for row in rows
    ]


def decoded(text: str) -> Any:
    """What JSON means by it, and the text itself if that is nothing."""
    try:
        return json.loads(text.lower() if text.lower() in ("true", "false") else text)
    except (ValueError, RecursionError):
        return text


def asked_in(form: Form, kind: type[AnyAsked]) -> AnyAsked:
    """Raises InvalidRequest."""
    try:
        return kind(**form.fields)
    except ValidationError as error:
        raise InvalidRequest(*first_problem(error.errors(include_url=False, include_input=False)[0])) from None


def schema(kind: type[Asked], example: Mapping[str, Any]) -> dict[str, Any]:
    """Of a form, for the documentation. Nothing in it can be null, and each field is told once, with its example."""
    image = {"type": "string", "format": "binary", "description": "One picture. It may also be called image[]."}
    described = kind.model_json_schema()
    told = {name: field for name, field in described["properties"].items() if field.get("type") != "null"}
    del told["num_inference_steps"]
    described["properties"] = {"image": image} | {name: in_form(field) for name, field in told.items()}
    described["required"] = ["image", *described.get("required", [])]
    for name, value in example.items():
        described["properties"][name]["examples"] = [value]
    return described


def in_form(field: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = field["anyOf"][0] if "anyOf" in field else {}
    return {name: part for name, part in field.items() if name != "anyOf"} | value


def prompt_inside(content: bytes) -> str | None:
    """What a picture from here was made from, as its receipt has it."""
    try:
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            receipt = json.loads(image.info["receipt"])
        prompt = receipt["prompt"]
    except (*BROKEN, *TOO_LARGE, RecursionError):
        return None
    return prompt if isinstance(prompt, str) else None
