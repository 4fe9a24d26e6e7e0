"""PNG: text chunks, which hold the settings and the receipt of a picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import BytesIO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imagegen.errors import InvalidRequest
from imagegen.media.inputs import (
    DECODE_ERRORS,
    INPUT_FORMATS,
    MAX_INPUT_BYTES,
    TOO_MANY_PIXELS_ERRORS,
    build_pixel_limit_error,
    check_dimensions,
)
from imagegen.media.metadata.exif import read_user_comment
from imagegen.media.metadata.infotext import format_a1111_parameters
from imagegen.schema.receipt import Receipt

# The chunk in which AUTOMATIC1111's web UI and other tools keep the settings.
SETTINGS_KEY = "parameters"
RECEIPT_KEY = "receipt"


def build_png_info(receipt: Receipt) -> PngInfo:
    """Returns the text chunks of a finished picture: its settings as infotext, and its receipt as JSON."""
    info = PngInfo()
    info.add_itxt(SETTINGS_KEY, format_a1111_parameters(receipt))
    info.add_itxt(RECEIPT_KEY, json.dumps(receipt.model_dump(), ensure_ascii=False))
    return info


def read_file_texts(content: bytes) -> dict[str, str]:
    """Returns all texts in a picture file, by name, with the settings as `parameters`. Raises InvalidRequest."""
    return read_file(content, lambda _, texts: dict(texts))


def read_file(content: bytes, read: Callable[[Image.Image, Mapping[str, str]], dict[str, str]]) -> dict[str, str]:
    """Returns what `read` returns for a loaded picture and its texts. Raises InvalidRequest.

    The whole file is read, because text chunks of a PNG file may come after its pixels.
    """
    if len(content) > MAX_INPUT_BYTES:
        raise InvalidRequest("image", f"must be at most {MAX_INPUT_BYTES // 2**20} MB")
    try:
        with Image.open(BytesIO(content), formats=INPUT_FORMATS) as image:
            check_dimensions(image, "image")
            image.load()
            return read(image, read_texts(image))
    except InvalidRequest:
        raise
    except TOO_MANY_PIXELS_ERRORS:
        raise build_pixel_limit_error("image") from None
    except DECODE_ERRORS:
        raise InvalidRequest("image", f"must be a whole picture in one of {', '.join(INPUT_FORMATS)}") from None


def read_texts(image: Image.Image) -> dict[str, str]:
    """Returns the texts of a loaded picture, by name; the settings come from the text chunk or from Exif.

    Damaged Exif has no text.
    """
    texts = {str(name): value for name, value in image.info.items() if isinstance(value, str)}
    with suppress(*DECODE_ERRORS):
        if SETTINGS_KEY not in texts and (user_comment := read_user_comment(image)):
            texts[SETTINGS_KEY] = user_comment
    return texts
