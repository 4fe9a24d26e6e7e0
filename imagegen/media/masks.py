"""Masks for inpainting: checked before a job is accepted, and converted from those of other APIs."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps

from imagegen.errors import InvalidRequest
from imagegen.media.inputs import load_input_image
from imagegen.media.png import encode_png

# The values of a mask's pixels from which on they are white. The engine paints their latents anew.
WHITE_FROM = 128


def check_mask(field: str, mask_file: Path, start_file: Path, is_inverted: bool) -> None:
    """Raises InvalidRequest for the field if a stored mask has another size than the start image, or masks nothing.

    With `is_inverted`, what is black is masked. Reads the mask.
    """
    with Image.open(start_file) as start, Image.open(mask_file) as mask:
        check_size(field, mask, start)
        masked = ImageOps.invert(mask) if is_inverted else mask.copy()
    if not any(masked.histogram()[WHITE_FROM:]):
        without_black = "must have a black part, which mask_invert paints anew"
        raise InvalidRequest(field, without_black if is_inverted else "must have a white part, which is painted anew")


def check_size(field: str, mask: Image.Image, start: Image.Image) -> None:
    """Raises InvalidRequest for the field if a mask has another size than the start image."""
    if mask.size != start.size:
        needed, given = (f"{image.width}x{image.height}" for image in (start, mask))
        raise InvalidRequest(field, f"must have the size of the start image, {needed}, not {given}")


def convert_erased_mask(mask: bytes, field: str) -> bytes:
    """Returns a mask file whose white is painted anew, for one in which that is what is transparent.

    A mask without an alpha channel is returned as it is. Raises InvalidRequest for the field if it is no picture.
    """
    load_input_image(mask, field, "mask")
    with Image.open(BytesIO(mask)) as sent:
        if not sent.has_transparency_data:
            return mask
        return encode_png(ImageOps.invert(ImageOps.exif_transpose(sent).convert("RGBA").getchannel("A")))
