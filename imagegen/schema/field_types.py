"""The types of the request's fields, with their ranges and checks."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from imagegen.schema.markers import Needs, Requires

MAX_PROMPT_CHARS = 4000

MAX_SEED = 2**32 - 1

MAX_STEPS = 150

# Pixels.
MIN_SIDE = 64

# The most pictures in one request.
MAX_PICTURES = 8

MAX_LORAS = 8

RATIO_PATTERN = re.compile("^[1-9][0-9]?:[1-9][0-9]?$")

# How many times larger a second pass and an upscaler make a picture, at most.
MAX_HIRES_SCALE, MAX_SCALE = 4, 8

# The value of `hires_upscaler` that makes latents larger instead of pictures.
LATENT_UPSCALER = "Latent"

# "Default" is the scheduler in the model's files, with its own configuration.
SamplerName = Literal[
    "Euler",
    "Euler a",
    "DDIM",
    "DPM++ 2M",
    "DPM++ 2M Karras",
    "DPM++ 2M SDE",
    "DPM++ 2M SDE Karras",
    "UniPC",
    "LCM",
    "Default",
]


def check_number(value: Any) -> Any:
    if isinstance(value, str | bool):
        raise ValueError("must be a number")
    return value


def check_printable(text: str) -> str:
    """Returns the text. Raises ValueError for control characters other than tabs and line breaks."""
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\t\n\r":
            raise ValueError(f"must not contain the character U+{ord(character):04X}")
    return text


def check_multiple_of_8(value: int) -> int:
    if value % 8:
        raise ValueError(f"must be a multiple of 8, such as {value - value % 8}")
    return value


def check_ratio(text: str) -> str:
    if RATIO_PATTERN.fullmatch(text) is None:
        raise ValueError("must be width to height, such as 16:9")
    return text


NUMBER_VALIDATOR = BeforeValidator(check_number)

PrintableText = Annotated[str, AfterValidator(check_printable)]

Prompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARS), AfterValidator(check_printable)]

# A name, a repository as `owner/name`, or a file in either.
Reference = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(check_printable)]

Strength = Annotated[float, Field(gt=0, le=1), NUMBER_VALIDATOR]

Seed = Annotated[int, Field(ge=0, le=MAX_SEED), NUMBER_VALIDATOR]

# The SHA-256 of an input picture's pixels, by which it is stored.
ImageId = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

MaskArea = Literal["whole", "masked"]

MaskFill = Literal["original", "fill", "noise", "nothing"]

AspectRatio = Annotated[
    str, AfterValidator(check_ratio), WithJsonSchema({"type": "string", "pattern": RATIO_PATTERN.pattern})
]

SideLength = Annotated[int, Field(ge=MIN_SIDE, le=2048), AfterValidator(check_multiple_of_8), NUMBER_VALIDATOR]

Extension = Annotated[int, Field(ge=0, le=1024), NUMBER_VALIDATOR, Needs("inpainting"), Requires("init_image")]
