"""Input pictures: checked, turned upright, and converted to the mode that their field of the request needs."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from imagegen.errors import InvalidRequest
from imagegen.media.colour_profiles import convert_to_srgb
from imagegen.schema.markers import ImageMode

INPUT_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")


# How the files of a format begin that phones write and Pillow cannot read.
HEIC_HEAD_BYTES = 12
HEIC_PATTERN = re.compile(rb"....ftyp(?:heic|heix|hevc|hevx|mif1|msf1)", re.DOTALL)


# What Pillow raises for a file that is no picture, or only a part of one.
DECODE_ERRORS = (UnidentifiedImageError, OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error)


TOO_MANY_PIXELS_ERRORS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


MAX_INPUT_BYTES = 20 * 2**20


# Pillow refuses PNG files with more than 1 MB of text or colour profile in one chunk, such as the workflow of another
# tool. Of all chunks together it unpacks up to 64 MB.
PngImagePlugin.MAX_TEXT_CHUNK = MAX_INPUT_BYTES


MAX_INPUT_PIXELS = 16_800_000


MIN_INPUT_SIDE = 8


# The alpha value of a pixel that is not transparent at all.
OPAQUE = 255


PILLOW_MODES: Mapping[ImageMode, tuple[str, ...]] = {
    "rgb": ("RGB",),
    "rgba": ("RGB", "RGBA"),
    "mask": ("L",),
}


def has_mode(file: Path, mode: ImageMode) -> bool:
    """Returns whether a stored input picture is already in one of the Pillow modes that `mode` needs."""
    with Image.open(file) as image:
        return image.mode in PILLOW_MODES[mode]


def load_input_image(source: Path | bytes, field: str, mode: ImageMode = "rgb") -> Image.Image:
    """Returns the first frame of a picture, upright, in sRGB with 8 bits per channel, in the Pillow mode that `mode`
    needs.

    `rgb` gives RGB, with transparency over white; `rgba` gives RGB, or RGBA for a picture with transparency; `mask`
    gives L, of a picture with transparency the alpha channel. Raises InvalidRequest for the field if it is no picture,
    or too large or too small.
    """
    try:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if size > MAX_INPUT_BYTES:
            raise InvalidRequest(field, f"must be at most {MAX_INPUT_BYTES // 2**20} MB")
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=INPUT_FORMATS) as image:
            check_dimensions(image, field)
            return CONVERTERS[mode](convert_to_srgb(ImageOps.exif_transpose(image)))
    except TOO_MANY_PIXELS_ERRORS:
        raise build_pixel_limit_error(field) from None
    except DECODE_ERRORS:
        formats = ", ".join(INPUT_FORMATS)
        if is_heic(source):
            raise InvalidRequest(field, f"must be a whole picture in one of {formats}; it is HEIC") from None
        raise InvalidRequest(field, f"must be a whole picture in one of {formats}") from None


def is_heic(source: Path | bytes) -> bool:
    """Returns whether a file, or its content, begins as one in the format HEIC. A file that is gone does not."""
    if isinstance(source, bytes):
        return HEIC_PATTERN.match(source) is not None
    try:
        with source.open("rb") as file:
            return HEIC_PATTERN.match(file.read(HEIC_HEAD_BYTES)) is not None
    except OSError:
        return False


def check_dimensions(image: Image.Image, field: str) -> None:
    width, height = image.size
    if width * height > MAX_INPUT_PIXELS:
        raise build_pixel_limit_error(field)
    if min(width, height) < MIN_INPUT_SIDE:
        raise InvalidRequest(field, f"must be at least {MIN_INPUT_SIDE} pixels wide and high")


def build_pixel_limit_error(field: str) -> InvalidRequest:
    return InvalidRequest(field, f"must have at most {MAX_INPUT_PIXELS / 1e6:.1f} million pixels")


def convert_to_rgb(image: Image.Image) -> Image.Image:
    """Returns the picture in RGB, with transparency over white."""
    image = convert_to_8_bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(background, image).convert("RGB")
    return image.convert("RGB")


def convert_to_rgba(image: Image.Image) -> Image.Image:
    """Returns the picture in RGBA if it has an alpha channel or a transparent colour, and in RGB otherwise."""
    image = convert_to_8_bit(image)
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def convert_to_mask(image: Image.Image) -> Image.Image:
    """Returns the mask in L. That of a picture with transparent parts is its alpha channel, whatever its colours.

    It is what AUTOMATIC1111's web UI does, and suits what a brush leaves on a transparent layer.
    """
    image = convert_to_8_bit(image)
    alpha = find_alpha(image)
    return convert_to_rgb(image).convert("L") if alpha is None else alpha


def find_alpha(image: Image.Image) -> Image.Image | None:
    """Returns the alpha channel of a picture in L, None if no pixel is transparent."""
    if not image.has_transparency_data:
        return None
    alpha = image.convert("RGBA").getchannel("A")
    return None if alpha.getextrema() == (OPAQUE, OPAQUE) else alpha


def convert_to_8_bit(image: Image.Image) -> Image.Image:
    """Returns grey of 16 bits or of floats in L; Pillow alone would cut off everything above 255."""
    if not image.mode.startswith(("I", "F")):
        return image
    pixels = image.convert("F")
    max_value = float(np.asarray(pixels).max())
    white_value = 65535.0 if image.mode.startswith("I;16") or max_value > 255 else 255.0 if max_value > 1 else 1.0
    return pixels.point(lambda value: value * (255 / white_value) + 0).convert("L")


CONVERTERS: Mapping[ImageMode, Callable[[Image.Image], Image.Image]] = {
    "rgb": convert_to_rgb,
    "rgba": convert_to_rgba,
    "mask": convert_to_mask,
}
