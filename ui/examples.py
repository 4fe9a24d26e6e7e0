"""A request as code that a program can be made of: short, and with every value written as its language needs it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from imagegen.info import ModelInfo
from imagegen.schema import GenerationRequest

Fields = dict[str, Any]
# The picture to start from is no part of the code: it opens this file.
PICTURE = "picture.png"
OUT = "out.png"
TOKEN = "STUDIO_TOKEN"  # noqa: S105


@dataclass(frozen=True)
class Call:
    """What is asked for, and where; a token goes along where users sign in."""

    address: str
    fields: Fields
    from_picture: bool = False
    signed_in: bool = False

    @property
    def endpoint(self) -> str:
        return "img2img" if self.from_picture else "txt2img"

    @property
    def is_batch(self) -> bool:
        return not self.fields.keys().isdisjoint(("batch_size", "more_prompts"))


@dataclass(frozen=True)
class Language:
    """`colours` is what the code is highlighted as."""

    colours: Literal["python", "shell", "javascript"]
    write: Callable[[Call], str]


def worth_saying(fields: Mapping[str, Any], model: ModelInfo, first_model: str) -> Fields:
    """What the model would not choose by itself. Of two sides, both or none."""
    usual = {name: getattr(model, name, field.default) for name, field in GenerationRequest.model_fields.items()}
    usual["model"] = first_model
    said = {name for name, value in fields.items() if value not in (None, "", [], usual[name])}
    said |= {"width", "height"} if said & {"width", "height"} else set()
    return {name: fields[name] for name in GenerationRequest.model_fields if name in said}


def with_gradio_client(call: Call) -> str:
    names = "Client, handle_file" if call.from_picture else "Client"
    picture, receipt = ("images", "receipts") if call.is_batch else ("image", "receipt")
    start = {"init_image": f'handle_file("{PICTURE}")'} if call.from_picture else {}
    return lines(
        "# pip install gradio_client",
        *(["import os", ""] if call.signed_in else []),
        f"from gradio_client import {names}",
        "",
        *connected(call),
        f"{picture}, {receipt} = studio.predict(",
        *arguments(written(call.fields, in_python) | start | {"api_name": f'"/{call.endpoint}"'}),
        ")",
        f"print({picture}, {receipt})",
    )


def connected(call: Call) -> list[str]:
    address = in_python(call.address)
    if not call.signed_in:
        return [f"studio = Client({address})"]
    headers = f"""{{"Authorization": f"Bearer {{os.environ['{TOKEN}']}}"}}"""
    return ["studio = Client(", f"    {address},", f"    headers={headers},", ")"]


def with_openai(call: Call) -> str:
    """What OpenAI's API knows goes by its names, the rest as what it calls extra. It takes one prompt at a time."""
    fields = dict(call.fields)
    others = fields.pop("more_prompts", None)
    known = {"prompt": fields.pop("prompt"), "model": fields.pop("model", None), "n": fields.pop("batch_size", None)}
    if "width" in fields:
        known["size"] = f"{fields.pop('width')}x{fields.pop('height')}"
    said = written({name: value for name, value in known.items() if value is not None}, in_python)
    start = {"image": f'open("{PICTURE}", "rb")'} if call.from_picture else {}
    extra = {"extra_body": literal(fields, in_python)} if fields else {}
    key = f'os.environ["{TOKEN}"]' if call.signed_in else '"none"'
    saved = [f'Path("{OUT}").write_bytes(base64.b64decode(answer.data[0].b64_json))']
    if "n" in said:
        saved = [
            "for number, image in enumerate(answer.data, start=1):",
            f'    Path(f"{numbered("{number}")}").write_bytes(base64.b64decode(image.b64_json))',
        ]
    return lines(
        "# pip install openai",
        *(["# This API takes one prompt at a time: more_prompts need calls of their own."] if others else []),
        "import base64",
        *(["import os"] if call.signed_in else []),
        "from pathlib import Path",
        "",
        "from openai import OpenAI",
        "",
        f"studio = OpenAI(base_url={in_python(f'{call.address}/v1')}, api_key={key})",
        f"answer = studio.images.{'edit' if call.from_picture else 'generate'}(",
        *arguments(start | said | {"response_format": '"b64_json"'} | extra),
        ")",
        *saved,
    )


def with_curl(call: Call) -> str:
    """Needs no more than every shell has. The body is read as it stands, or, to put a picture in, with escapes."""
    fields = written(call.fields, in_json)
    if call.from_picture:
        fields = {name: in_shell(value) for name, value in fields.items()}
        fields["init_image"] = f"\"$(base64 < {PICTURE} | tr -d '\\n')\""
    ends = "JSON" if call.from_picture else "'JSON'"
    body = ",\n".join(f'  "{name}": {value}' for name, value in fields.items())
    found = 'grep -o \'"image_b64":"[^"]*\' answer.json | cut -d \'"\' -f 4'
    saved = [f"{found} | base64 -d > {OUT}"]
    if call.is_batch:
        saved = [
            "number=0",
            f"for image in $({found}); do",
            "  number=$((number + 1))",
            f'  echo "$image" | base64 -d > "{numbered("$number")}"',
            "done",
        ]
    return lines(
        f"curl -sS --fail-with-body {shlex.quote(f'{call.address}/v1/{call.endpoint}')} \\",
        *([f'  -H "Authorization: Bearer ${TOKEN}" \\'] if call.signed_in else []),
        '  -H "Content-Type: application/json" \\',
        f"  -d @- -o answer.json <<{ends}",
        f"{{\n{body}\n}}",
        "JSON",
        *saved,
    )


def with_javascript(call: Call) -> str:
    names = "Client, handle_file" if call.from_picture else "Client"
    headers = f", {{\n  headers: {{ Authorization: `Bearer ${{process.env.{TOKEN}}}` }},\n}}" if call.signed_in else ""
    picture, receipt = ("images", "receipts") if call.is_batch else ("image", "receipt")
    url = "images.map((image) => image.url)" if call.is_batch else "image.url"
    start = {"init_image": f'handle_file("{PICTURE}")'} if call.from_picture else {}
    return lines(
        "// npm install @gradio/client, and keep this as a module: paint.mjs",
        f'import {{ {names} }} from "@gradio/client";',
        "",
        f"const studio = await Client.connect({in_json(call.address)}{headers});",
        f'const {{ data }} = await studio.predict("/{call.endpoint}", {{',
        *(f"  {name}: {value}," for name, value in (written(call.fields, in_json) | start).items()),
        "});",
        f"const [{picture}, {receipt}] = data;",
        f"console.log({url}, {receipt});",
        "process.exit(); // The client stays connected until then.",
    )


LANGUAGES = {
    "Python": Language("python", with_gradio_client),
    "OpenAI": Language("python", with_openai),
    "curl": Language("shell", with_curl),
    "JavaScript": Language("javascript", with_javascript),
}


def written(fields: Mapping[str, Any], quote: Callable[[str], str]) -> dict[str, str]:
    return {name: literal(value, quote) for name, value in fields.items()}


def literal(value: Any, quote: Callable[[str], str]) -> str:
    """The three languages agree on all but text."""
    match value:
        case str():
            return quote(value)
        case Mapping():
            return f"{{{', '.join(f'{quote(name)}: {literal(each, quote)}' for name, each in value.items())}}}"
        case list() | tuple():
            return f"[{', '.join(literal(each, quote) for each in value)}]"
        case _:
            return json.dumps(value)


def in_json(text: str) -> str:
    """In JSON and in JavaScript."""
    return shown(text, lambda letter: json.dumps(letter)[1:-1])


def in_python(text: str) -> str:
    return shown(text, lambda letter: letter.encode("unicode_escape").decode("ascii"))


def shown(text: str, escaped: Callable[[str], str]) -> str:
    """In double quotes. What does not show, or turns the reading about, is escaped: code must not hide anything."""
    return "".join(
        letter if letter.isprintable() else escaped(letter) for letter in json.dumps(text, ensure_ascii=False)
    )


def in_shell(text: str) -> str:
    """In a here-document that puts in what commands say."""
    return re.sub(r"([\\$`])", r"\\\1", text)


def numbered(number: str) -> str:
    return OUT.replace(".", f"-{number}.")


def arguments(named: Mapping[str, str]) -> Iterable[str]:
    return (f"    {name}={value}," for name, value in named.items())


def lines(*parts: str) -> str:
    return "\n".join(parts)
