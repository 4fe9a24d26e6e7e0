"""Writes a request as code for programs, with each value quoted as the language needs it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from imagegen.schema.input_images import list_entry_images, replace_images
from imagegen.schema.markers import ImageMode
from imagegen.schema.models import MODEL_DEFAULT_FIELDS, ModelInfo
from imagegen.schema.request import INPUT_IMAGES, GenerationRequest
from imagegen.schema.tasks import TASKS, TaskName, find_task

Fields = dict[str, Any]
OUTPUT_FILE = "out.png"
TOKEN_VARIABLE = "STUDIO_TOKEN"  # noqa: S105


@dataclass(frozen=True)
class SampleImage:
    """The file that the code opens for an input picture, and the argument for it in OpenAI's client."""

    file: str
    openai_name: str


SAMPLE_IMAGES: Mapping[ImageMode, SampleImage] = {
    "rgb": SampleImage("picture.png", "image"),
    "rgba": SampleImage("picture.png", "image"),
    "mask": SampleImage("mask.png", "mask"),
}


@dataclass(frozen=True)
class SampleFile:
    """A picture of a request, which the code reads from a file."""

    name: str


@dataclass(frozen=True)
class SampleRequest:
    """A request, its input pictures by field, and the address of the studio. Where users sign in, it needs a token.

    Each picture in an entry of a list is a file of its own: `control.png`, `control-2.png` and so on.
    """

    base_url: str
    fields: Fields
    input_images: tuple[str, ...] = ()
    needs_token: bool = False

    @property
    def task(self) -> TaskName:
        return find_task(set(self.input_images))

    @property
    def endpoint(self) -> str:
        return TASKS[self.task].endpoint

    @property
    def values(self) -> Fields:
        """The fields with a SampleFile for each picture in an entry of a list."""
        places = [place for place, _, _ in list_entry_images(self.fields)]
        return replace_images(self.fields, {place: name_entry_file(place) for place in places})

    @property
    def image_files(self) -> dict[str, SampleFile]:
        """The input pictures that are fields of their own."""
        return {name: SampleFile(get_sample_image(name).file) for name in self.input_images}

    @property
    def has_files(self) -> bool:
        return bool(self.input_images) or any(True for _ in list_entry_images(self.fields))

    @property
    def is_batch(self) -> bool:
        return not self.fields.keys().isdisjoint(("batch_size", "more_prompts"))


@dataclass(frozen=True)
class Notation:
    """How a language writes a text, and how it reads a file: both return an expression."""

    quote: Callable[[str], str]
    read_file: Callable[[SampleFile], str]


@dataclass(frozen=True)
class Language:
    """`syntax` is the language that the code is highlighted as."""

    syntax: Literal["python", "shell", "javascript"]
    write: Callable[[SampleRequest], str]


def select_non_default_fields(fields: Mapping[str, Any], model: ModelInfo, first_model: str) -> Fields:
    """Returns the fields that differ from the model's defaults. Of width and height, both or none."""
    defaults = {name: field.default for name, field in GenerationRequest.model_fields.items()}
    defaults |= {name: getattr(model, name) for name in MODEL_DEFAULT_FIELDS} | {"model": first_model}
    changed = {name for name, value in fields.items() if value not in (None, "", [], defaults[name])}
    changed |= {"width", "height"} if changed & {"width", "height"} else set()
    return {name: fields[name] for name in GenerationRequest.model_fields if name in changed}


def get_sample_image(field: str) -> SampleImage:
    return SAMPLE_IMAGES[INPUT_IMAGES[field].mode]


def write_gradio_client_code(call: SampleRequest) -> str:
    names = "Client, handle_file" if call.has_files else "Client"
    picture, receipt = ("images", "receipts") if call.is_batch else ("image", "receipt")
    arguments = write_fields(call.values | call.image_files, Notation(quote_python, write_handle_file))
    return join_lines(
        "# pip install gradio_client",
        *(["import os", ""] if call.needs_token else []),
        f"from gradio_client import {names}",
        "",
        *write_client_construction(call),
        f"{picture}, {receipt} = studio.predict(",
        *format_keyword_arguments(arguments | {"api_name": f'"/{call.endpoint}"'}),
        ")",
        f"print({picture}, {receipt})",
    )


def write_client_construction(call: SampleRequest) -> list[str]:
    address = quote_python(call.base_url)
    if not call.needs_token:
        return [f"studio = Client({address})"]
    headers = f"""{{"Authorization": f"Bearer {{os.environ['{TOKEN_VARIABLE}']}}"}}"""
    return ["studio = Client(", f"    {address},", f"    headers={headers},", ")"]


def write_openai_code(call: SampleRequest) -> str:
    """Writes OpenAI's fields under their names, and the others as `extra_body`. The API takes one prompt at a time.

    With a start image the request is a form, in which OpenAI's client can write a list of objects only if all have the
    same members. Others are written as JSON.
    """
    if not TASKS[call.task].paints:
        return "# OpenAI's API paints pictures only: use one of the other languages."
    notation = Notation(quote_python, write_python_base64)
    fields = call.values
    more_prompts = fields.pop("more_prompts", None)
    openai_fields = {
        "prompt": fields.pop("prompt"),
        "model": fields.pop("model", None),
        "n": fields.pop("batch_size", None),
    }
    if "width" in fields:
        openai_fields["size"] = f"{fields.pop('width')}x{fields.pop('height')}"
    quoted_fields = write_fields({name: value for name, value in openai_fields.items() if value is not None}, notation)
    images = [get_sample_image(name) for name in call.input_images]
    image_arguments = {image.openai_name: f'open("{image.file}", "rb")' for image in images}
    literals = write_fields(fields, notation)
    as_json = [name for name, value in fields.items() if call.input_images and has_mixed_entries(value)]
    literals |= {name: f"json.dumps({literals[name]})" for name in as_json}
    members = ", ".join(f"{quote_python(name)}: {literal}" for name, literal in literals.items())
    extra = {"extra_body": f"{{{members}}}"} if fields else {}
    key = f'os.environ["{TOKEN_VARIABLE}"]' if call.needs_token else '"none"'
    save_lines = [f'Path("{OUTPUT_FILE}").write_bytes(base64.b64decode(answer.data[0].b64_json))']
    if "n" in quoted_fields:
        save_lines = [
            "for number, image in enumerate(answer.data, start=1):",
            f'    Path(f"{number_output_file("{number}")}").write_bytes(base64.b64decode(image.b64_json))',
        ]
    return join_lines(
        "# pip install openai",
        *(["# This API takes one prompt at a time: more_prompts need calls of their own."] if more_prompts else []),
        "import base64",
        *(["import json"] if as_json else []),
        *(["import os"] if call.needs_token else []),
        "from pathlib import Path",
        "",
        "from openai import OpenAI",
        "",
        f"studio = OpenAI(base_url={quote_python(f'{call.base_url}/v1')}, api_key={key})",
        f"answer = studio.images.{'edit' if call.input_images else 'generate'}(",
        *format_keyword_arguments(image_arguments | quoted_fields | {"response_format": '"b64_json"'} | extra),
        ")",
        *save_lines,
    )


def write_curl_code(call: SampleRequest) -> str:
    """Writes code for any shell. With a picture, which the shell inserts, all texts of the body are escaped."""
    quote = quote_heredoc_json if call.has_files else quote_json
    fields = write_fields(call.values | call.image_files, Notation(quote, write_shell_base64))
    heredoc_delimiter = "JSON" if call.has_files else "'JSON'"
    body = ",\n".join(f'  "{name}": {value}' for name, value in fields.items())
    extract_images = 'grep -o \'"image_b64":"[^"]*\' answer.json | cut -d \'"\' -f 4'
    save_lines = [f"{extract_images} | base64 -d > {OUTPUT_FILE}"]
    if call.is_batch:
        save_lines = [
            "number=0",
            f"for image in $({extract_images}); do",
            "  number=$((number + 1))",
            f'  echo "$image" | base64 -d > "{number_output_file("$number")}"',
            "done",
        ]
    return join_lines(
        f"curl -sS --fail-with-body {shlex.quote(f'{call.base_url}/v1/{call.endpoint}')} \\",
        *([f'  -H "Authorization: Bearer ${TOKEN_VARIABLE}" \\'] if call.needs_token else []),
        '  -H "Content-Type: application/json" \\',
        f"  -d @- -o answer.json <<{heredoc_delimiter}",
        f"{{\n{body}\n}}",
        "JSON",
        *save_lines,
    )


def write_javascript_code(call: SampleRequest) -> str:
    names = "Client, handle_file" if call.has_files else "Client"
    headers = (
        f", {{\n  headers: {{ Authorization: `Bearer ${{process.env.{TOKEN_VARIABLE}}}` }},\n}}"
        if call.needs_token
        else ""
    )
    picture, receipt = ("images", "receipts") if call.is_batch else ("image", "receipt")
    url = "images.map((image) => image.url)" if call.is_batch else "image.url"
    arguments = write_fields(call.values | call.image_files, Notation(quote_json, write_handle_file))
    return join_lines(
        "// npm install @gradio/client, and keep this as a module: paint.mjs",
        f'import {{ {names} }} from "@gradio/client";',
        "",
        f"const studio = await Client.connect({quote_json(call.base_url)}{headers});",
        f'const {{ data }} = await studio.predict("/{call.endpoint}", {{',
        *(f"  {name}: {value}," for name, value in arguments.items()),
        "});",
        f"const [{picture}, {receipt}] = data;",
        f"console.log({url}, {receipt});",
        "process.exit(); // The client stays connected until then.",
    )


LANGUAGES = {
    "Python": Language("python", write_gradio_client_code),
    "OpenAI": Language("python", write_openai_code),
    "curl": Language("shell", write_curl_code),
    "JavaScript": Language("javascript", write_javascript_code),
}


def name_entry_file(place: str) -> SampleFile:
    """Returns the file for a picture in a list: `controls[1].image` is `control-2.png`."""
    field, number = place.partition("]")[0].split("[")
    suffix = f"-{int(number) + 1}" if int(number) else ""
    return SampleFile(f"{field.removesuffix('s')}{suffix}.png")


def has_mixed_entries(value: Any) -> bool:
    """Returns whether a value is a list of objects that do not all have the same members."""
    entries = value if isinstance(value, list | tuple) else ()
    return len({frozenset(entry) for entry in entries if isinstance(entry, Mapping)}) > 1


def write_fields(fields: Mapping[str, Any], notation: Notation) -> dict[str, str]:
    return {name: to_literal(value, notation) for name, value in fields.items()}


def to_literal(value: Any, notation: Notation) -> str:
    """Writes a value. The languages differ only in their notation of texts and files."""
    match value:
        case str():
            return notation.quote(value)
        case SampleFile():
            return notation.read_file(value)
        case Mapping():
            members = (f"{notation.quote(name)}: {to_literal(each, notation)}" for name, each in value.items())
            return f"{{{', '.join(members)}}}"
        case list() | tuple():
            return f"[{', '.join(to_literal(each, notation) for each in value)}]"
        case _:
            return json.dumps(value)


def write_handle_file(file: SampleFile) -> str:
    return f'handle_file("{file.name}")'


def write_python_base64(file: SampleFile) -> str:
    return f'base64.b64encode(Path("{file.name}").read_bytes()).decode()'


def write_shell_base64(file: SampleFile) -> str:
    return f"\"$(base64 < {file.name} | tr -d '\\n')\""


def quote_json(text: str) -> str:
    """Quotes a text for JSON and JavaScript."""
    return quote_text(text, lambda letter: json.dumps(letter)[1:-1])


def quote_python(text: str) -> str:
    return quote_text(text, lambda letter: letter.encode("unicode_escape").decode("ascii"))


def quote_text(text: str, escape: Callable[[str], str]) -> str:
    """Quotes a text with double quotes. Invisible characters are escaped, so that the code hides nothing."""
    return "".join(
        letter if letter.isprintable() else escape(letter) for letter in json.dumps(text, ensure_ascii=False)
    )


def quote_heredoc_json(text: str) -> str:
    """Quotes a text for JSON in a here-document in which the shell runs commands."""
    return re.sub(r"([\\$`])", r"\\\1", quote_json(text))


def number_output_file(number: str) -> str:
    return OUTPUT_FILE.replace(".", f"-{number}.")


def format_keyword_arguments(values: Mapping[str, str]) -> Iterable[str]:
    return (f"    {name}={value}," for name, value in values.items())


def join_lines(*parts: str) -> str:
    return "\n".join(parts)
