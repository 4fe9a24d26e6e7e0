"""Control maps of colours and brightness."""

from __future__ import annotations

from PIL import Image, ImageOps

from imagegen.media.control_maps.blur import WORKING_SIDE

# Pixels of a side of a cell of the colour grid, in a picture whose shorter side is WORKING_SIDE.
CELL = 64
# A picture of 512 x 512 pixels becomes one of 64 x 64, the example of ControlNet 1.1's tile model.
TILE_RATE = 8.0


def gray(picture: Image.Image) -> Image.Image:
    """Returns an RGB picture without its colours."""
    return picture.convert("L").convert("RGB")


def tile(picture: Image.Image, rate: float = TILE_RATE) -> Image.Image:
    """Returns an RGB picture made `rate` times smaller on each side, and resized back to its size.

    `rate` is the parameter of the module `tile_resample` of AUTOMATIC1111's ControlNet extension. There the default
    is 1, which changes nothing.
    """
    width, height = picture.size
    small = max(1, int(width / rate)), max(1, int(height / rate))
    return picture.resize(small, Image.Resampling.BOX).resize(picture.size, Image.Resampling.BICUBIC)


def color(picture: Image.Image) -> Image.Image:
    """Returns an RGB picture as a grid of plain squares, eight along its shorter side, each with its mean colour."""
    cell = CELL * min(picture.size) / WORKING_SIDE
    columns, rows = (max(1, min(side, round(side / cell))) for side in picture.size)
    return picture.resize((columns, rows), Image.Resampling.BOX).resize(picture.size, Image.Resampling.NEAREST)


def invert(picture: Image.Image) -> Image.Image:
    """Returns the negative of an RGB picture: black lines on white become white lines on black."""
    return ImageOps.invert(picture)


def none(picture: Image.Image) -> Image.Image:
    """Returns the picture, which is a control map already."""
    return picture
