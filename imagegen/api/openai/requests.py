"""What OpenAI's image API takes, and what it means to the studio.

OpenAI's fields keep OpenAI's meaning. Those of the studio come beside them, which OpenAI's clients call `extra_body`,
and mean what they mean in REST. What would change nothing is refused by name, and so is what nobody knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictBool, ValidationInfo, WithJsonSchema, field_validator

from imagegen.errors import InvalidRequest, of_field
from imagegen.images import Format
from imagegen.schema import NUMBER, GenerationRequest, LoraUse, Message
from imagegen.validation import parse_request

PROPERTIES = GenerationRequest.model_json_schema()["properties"]
SIZE = re.compile("([0-9]{1,5})x([0-9]{1,5})")
OPENAI_NAMES = {"batch_size": "n", "width": "size", "height": "size", "init_image": "image"}
# OpenAI's choices that are none here: what is accepted of each, and what is said of all else.
FIXED: dict[str, tuple[tuple[str, ...], str]] = {
    "quality": (("auto", "standard"), "must be auto: say steps instead"),
    "background": (("auto", "opaque"), "must be auto or opaque: pictures are not transparent here"),
    "style": ((), "cannot be used; say it in the prompt"),
    "input_fidelity": (("low",), "must be low: say strength instead"),
    "mask": ((), "cannot be used; leave it out to change the whole picture"),
}


def ours(name: str, default: Any = None, **about: str) -> Any:
    """A field of GenerationRequest. It is documented as there, and checked there: null leaves it open."""
    schema = dict(PROPERTIES[name])
    if name == "loras":
        schema["items"] = LoraUse.model_json_schema()
    about = {part: schema.pop(part) for part in ("description", "default") if part in schema} | about
    del schema["title"]
    if default is None and "anyOf" not in schema:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return Field(default, json_schema_extra={**about, **schema})


def within(least: int, most: int, value: int) -> int:
    if not least <= value <= most:
        raise ValueError(f"must be between {least} and {most}")
    return value


def size(text: str) -> str:
    if text != "auto" and SIZE.fullmatch(text) is None:
        raise ValueError("must be auto, or width and height, such as 512x512")
    return text


Percent = Annotated[
    int, NUMBER, AfterValidator(partial(within, 0, 100)),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 100}),
]  # fmt: skip
UpTo3 = Annotated[
    int, NUMBER, AfterValidator(partial(within, 0, 3)), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 3})
]
Size = Annotated[
    str, AfterValidator(size), WithJsonSchema({"type": "string", "pattern": "^(auto|[0-9]{1,5}x[0-9]{1,5})$"})
]


class Asked(Message):
    """What each of OpenAI's routes for pictures takes; first OpenAI's fields, then the studio's own."""

    model: Any = ours("model")
    n: Any = ours("batch_size")
    size: Size | None = Field(None, description="Width and height in pixels; auto is what the model likes best.")
    response_format: Literal["b64_json", "url"] | None = Field(
        None, description="A url needs the same Authorization as everything else."
    )
    output_format: Format | None = Field(None, description="Each has the settings inside; PNG has the whole receipt.")
    output_compression: Percent | None = Field(None, description="The quality of JPEG and WebP, 100 being the best.")
    quality: Literal["auto", "standard"] | None = Field(None, description="Say steps instead.")
    background: Literal["auto", "opaque"] | None = None
    style: None = Field(None, description="Say it in the prompt.")
    moderation: Literal["auto", "low"] | None = Field(None, description="Changes nothing.")
    user: str | None = Field(None, description="Changes nothing.")
    safety_identifier: str | None = Field(None, description="Changes nothing.")
    stream: StrictBool | None = Field(None, description="Whether to answer with server-sent events.")
    partial_images: UpTo3 | None = Field(
        None, description="How many pictures of how it goes to send in a stream, at most; of several, one of them all."
    )
    negative_prompt: Any = ours("negative_prompt")
    steps: Any = ours("steps")
    num_inference_steps: Any = ours("steps", description="Another name for steps.")
    guidance_scale: Any = ours("guidance_scale")
    sampler: Any = ours("sampler")
    seed: Any = ours("seed")
    clip_skip: Any = ours("clip_skip")
    step_cache: Any = ours("step_cache")
    loras: Any = ours("loras")
    embeddings: Any = ours("embeddings")

    @field_validator(*FIXED, mode="before", check_fields=False)
    @classmethod
    def is_no_choice(cls, value: Any, info: ValidationInfo) -> Any:
        allowed, problem = FIXED[str(info.field_name)]
        if value is not None and value not in allowed:
            raise ValueError(problem)
        return value

    @property
    def file_format(self) -> Format:
        return self.output_format or "png"

    @property
    def file_quality(self) -> int:
        return 100 if self.output_compression is None else self.output_compression


class GenerationAsked(Asked):
    """A picture out of words."""

    prompt: Any = ours("prompt", ...)


class VariationAsked(Asked):
    """A picture made anew. Without a prompt it is made from the one that the picture carries, if it is from here."""

    prompt: Any = ours("prompt")
    strength: Any = ours("strength")


class EditAsked(VariationAsked):
    """A picture made anew, from it and from words."""

    prompt: Any = ours("prompt", ...)
    input_fidelity: Literal["low"] | None = Field(None, description="Say strength instead.")
    mask: None = Field(None, description="Cannot be used yet; without it, the whole picture changes.")


def meant(asked: Asked, init_image: str | None = None) -> GenerationRequest:
    """The request itself. Raises InvalidRequest, in OpenAI's names."""
    check_together(asked)
    values = asked.model_dump(include=set(GenerationRequest.model_fields))
    values |= {"batch_size": asked.n, "init_image": init_image}
    if asked.num_inference_steps is not None:
        values["steps"] = asked.num_inference_steps
    if (sides := SIZE.fullmatch(asked.size or "")) is not None:
        values |= {"width": int(sides[1]), "height": int(sides[2])}
    with in_openais_names(asked):
        return parse_request(values)


def check_together(asked: Asked) -> None:
    """Raises InvalidRequest for fields that say nothing, or two things, beside each other."""
    if asked.steps is not None and asked.num_inference_steps is not None:
        raise InvalidRequest("num_inference_steps", "is another name for steps; send one of them")
    if asked.partial_images and not asked.stream:
        raise InvalidRequest("partial_images", "can only be sent in a stream")
    if asked.response_format == "url" and asked.stream:
        raise InvalidRequest("response_format", "must be b64_json in a stream")
    if asked.file_format == "png" and asked.file_quality != 100:
        raise InvalidRequest("output_compression", "must be 100 for png, which loses nothing")


@contextmanager
def in_openais_names(asked: Asked) -> Iterator[None]:
    """What is wrong inside is told by the name under which it came."""
    names = OPENAI_NAMES | ({"steps": "num_inference_steps"} if asked.num_inference_steps is not None else {})
    try:
        yield
    except InvalidRequest as error:
        with of_field(names.get(error.field, error.field)):
            raise
