"""Applies a style to a finished drawing."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image

from training.drawing.styles.lines import blueprint, comic, line_drawing
from training.drawing.styles.oil import oil_painting
from training.drawing.styles.paints import CHALK, CHALK_WHITE, WASH, pastel, watercolor
from training.drawing.styles.pixels import Pixels
from training.drawing.styles.tiles import mosaic, pixel_art
from training.drawing.vocabulary import COLORS

StyleFunction = Callable[[Image.Image, np.random.Generator], Image.Image]
STYLE_FUNCTIONS: Final[dict[str, StyleFunction]] = {
    "watercolor": watercolor,
    "pixel art": pixel_art,
    "line drawing": line_drawing,
    "oil painting": oil_painting,
    "comic": comic,
    "pastel": pastel,
    "mosaic": mosaic,
    "blueprint": blueprint,
}
# The share of its colour that a flat area keeps in a style, and the gray that replaces the rest.
CASTS: Final = {"watercolor": (WASH, 255), "pastel": (CHALK, CHALK_WHITE), "mosaic": (0.87, 0), "comic": (0.9, 0)}


def stylise(image: Image.Image, style: str, rng: random.Random) -> Image.Image:
    """Returns the drawing in a style. Raises ValueError for an unknown one."""
    if style == "plain":
        return image
    if style not in STYLE_FUNCTIONS:
        raise ValueError(f"No style is called {style!r}")
    return STYLE_FUNCTIONS[style](image, np.random.default_rng(rng.getrandbits(32)))


def palette(style: str) -> Pixels:
    """Returns COLORS as they look in a style, of shape (colours, 3)."""
    keep, rest = CASTS.get(style, (1.0, 0))
    return np.array(list(COLORS.values()), np.float32) * np.float32(keep) + np.float32(rest * (1 - keep))
