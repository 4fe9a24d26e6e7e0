"""Sizes of pictures, width and height in pixels, and of those that are made larger; parts of pictures."""

from __future__ import annotations

Size = tuple[int, int]
# A part of a picture: left, top, right and bottom in pixels, without the last column and row.
Box = tuple[int, int, int, int]

# Sides of the second pass (hires) are multiples of this, which all models with a second pass can make.
HIRES_MULTIPLE = 16


def scale_size(size: Size, factor: float) -> Size:
    """Returns the size times the factor; each side is at least 1."""
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def scale_hires_size(size: Size, factor: float) -> Size:
    """Returns the size of the second pass for that of the first."""
    width, height = (max(1, round(side * factor / HIRES_MULTIPLE)) * HIRES_MULTIPLE for side in size)
    return width, height


def cover_size(size: Size, target: Size) -> Size:
    """Returns the smallest size with the proportions of `size` that is at least `target` in both directions."""
    return scale_size(size, max(target[0] / size[0], target[1] / size[1]))
