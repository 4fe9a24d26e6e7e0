"""Small versions of pictures for lists."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image

from imagegen.media.inputs import convert_to_rgb

# Pixels of the longer side: a tile of 160 px on a screen with two pixels per px.
THUMBNAIL_SIDE = 320
QUALITY = 80


def make_thumbnail(file: Path) -> bytes:
    """Returns a picture as a WebP file whose longer side has at most THUMBNAIL_SIDE pixels. Raises OSError."""
    with Image.open(file) as image:
        return encode_small(convert_to_rgb(image), THUMBNAIL_SIDE)


def encode_small(image: Image.Image, side: int) -> bytes:
    """Returns an RGB picture as a WebP file whose longer side has at most `side` pixels."""
    buffer = BytesIO()
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    small.save(buffer, format="WEBP", quality=QUALITY, method=2)
    return buffer.getvalue()
