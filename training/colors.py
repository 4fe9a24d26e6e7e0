"""Colours of a picture of a shape, told by its pixels alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.dataset import Pixels
from training.drawing.vocabulary import COLORS

NAMES = list(COLORS)
# How much of its colour a watercolor keeps; see training/drawing/styles.py.
WASH = 0.74
BORDER = (0.08, 0.16)


def palette(style: str) -> NDArray[np.float32]:
    colors = np.array(list(COLORS.values()), np.float32)
    return 255 - (255 - colors) * WASH if style == "watercolor" else colors


def named(pixels: NDArray[np.float32], style: str) -> NDArray[np.intp]:
    """The index of the nearest colour of every pixel of (..., 3)."""
    distances = np.square(pixels[..., None, :] - palette(style)).sum(-1)
    nearest: NDArray[np.intp] = distances.argmin(-1)
    return nearest


def background_and_shape(picture: Pixels, style: str) -> tuple[str, str]:
    """The commonest colour in a frame near the border, and the commonest other colour inside it."""
    size = len(picture)
    outer, inner = (round(size * share) for share in BORDER)
    labels = named(picture.astype(np.float32), style)
    inside = labels[outer : size - outer, outer : size - outer]
    frame = np.ones_like(inside, bool)
    width = inner - outer
    frame[width:-width, width:-width] = False
    background = np.bincount(inside[frame], minlength=len(NAMES)).argmax()
    counts = np.bincount(inside.ravel(), minlength=len(NAMES))
    counts[background] = 0
    return NAMES[background], NAMES[int(counts.argmax())]
