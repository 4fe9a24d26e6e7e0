"""Finds a prompt for a picture that comes without one."""

from __future__ import annotations

import json
from io import BytesIO

from PIL import Image

from imagegen.media.inputs import DECODE_ERRORS, TOO_MANY_PIXELS_ERRORS
from imagegen.media.metadata.png_text import RECEIPT_KEY

DEFAULT_PROMPT = "a picture"


def find_picture_prompt(content: bytes) -> str:
    """Returns the prompt in the receipt of a picture that this studio made, and "a picture" for any other."""
    return read_receipt_prompt(content) or DEFAULT_PROMPT


def read_receipt_prompt(content: bytes) -> str | None:
    try:
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            receipt = json.loads(image.info[RECEIPT_KEY])
        prompt = receipt["prompt"]
    except (*DECODE_ERRORS, *TOO_MANY_PIXELS_ERRORS, RecursionError):
        return None
    return prompt if isinstance(prompt, str) else None
