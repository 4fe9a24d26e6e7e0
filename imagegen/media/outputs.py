"""Converts finished pictures to the formats that clients request."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image

from imagegen.media.inputs import convert_to_rgb
from imagegen.media.metadata.exif import build_exif

ImageFormat = Literal["png", "jpeg", "webp"]


def convert_picture(file: Path, target_format: ImageFormat, quality: int = 90) -> bytes:
    """Returns a picture as a file of another format, with its settings in Exif, if it has any; as PNG, the file itself.

    `quality` is 0 to 100, and applies to JPEG and WebP.
    """
    if target_format == "png":
        return file.read_bytes()
    buffer = BytesIO()
    with Image.open(file) as image:
        # JPEG has no transparency: white shows through.
        picture = convert_to_rgb(image) if target_format == "jpeg" else image
        settings = image.info.get("parameters")
        exif = {} if settings is None else {"exif": build_exif(str(settings))}
        picture.save(buffer, format=target_format.upper(), quality=quality, **exif)
    return buffer.getvalue()
