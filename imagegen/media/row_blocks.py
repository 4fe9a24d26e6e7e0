"""Cuts a picture into blocks of rows, so that a large one is not copied as a whole."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image


def crop_rows(image: Image.Image, rows: int) -> Iterator[Image.Image]:
    """Yields the picture from top to bottom, in blocks of `rows` rows; the last may have fewer."""
    width, height = image.size
    for top in range(0, height, rows):
        yield image.crop((0, top, width, min(top + rows, height)))
