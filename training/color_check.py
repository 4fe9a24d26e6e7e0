"""Detects the colours of a picture of things on a backdrop from its pixels alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.dataset import Pixels
from training.drawing.styles.stylise import palette
from training.drawing.vocabulary import COLORS

NAMES = list(COLORS)
BORDER = (0.08, 0.16)


def find_nearest_colors(pixels: NDArray[np.float32], style: str) -> NDArray[np.intp]:
    """Returns the index of the nearest colour for each pixel of (..., 3)."""
    distances = np.square(pixels[..., None, :] - palette(style)).sum(-1)
    nearest: NDArray[np.intp] = distances.argmin(-1)
    return nearest


def background_and_shape(picture: Pixels, style: str) -> tuple[str, str]:
    """Returns the most frequent colour in a frame near the border, and the most frequent other colour inside it."""
    inside, background = inside_and_background(picture, style)
    return NAMES[background], commonest(inside, background)


def colors_of_pair(picture: Pixels, style: str, layout: str) -> tuple[str, str]:
    """Returns the most frequent colour, without the background's, in each half of a picture of two things."""
    inside, background = inside_and_background(picture, style)
    first, second = np.array_split(inside, 2, axis=0 if layout == "above" else 1)
    return commonest(first, background), commonest(second, background)


def inside_and_background(picture: Pixels, style: str) -> tuple[NDArray[np.intp], int]:
    """Returns the colour indices of a picture without its border, and that of its background."""
    size = len(picture)
    outer, inner = (round(size * share) for share in BORDER)
    inside = find_nearest_colors(picture[outer : size - outer, outer : size - outer].astype(np.float32), style)
    frame = np.ones_like(inside, bool)
    width = inner - outer
    frame[width:-width, width:-width] = False
    return inside, int(np.bincount(inside[frame], minlength=len(NAMES)).argmax())


def commonest(labels: NDArray[np.intp], background: int) -> str:
    counts = np.bincount(labels.ravel(), minlength=len(NAMES))
    counts[background] = 0
    return NAMES[int(counts.argmax())]
