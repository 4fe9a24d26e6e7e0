"""Detects from pixels alone whether a picture is in the neon style."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.dataset import Pixels
from training.drawing.neon import gas

DARK, BRIGHT = 70, 80
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def is_neon(picture: Pixels) -> bool:
    """Returns whether much is dark, something is bright, and the bright pixels have a tube's hue at their position."""
    luma = picture.astype(np.float32) @ LUMA
    bright = luma > BRIGHT
    if (luma < DARK).mean() < 0.4 or bright.mean() < 0.01:
        return False
    return bool(measure_hue_similarity(picture)[bright].mean() > 0.75)


def measure_hue_similarity(picture: Pixels) -> NDArray[np.float32]:
    """Returns the cosine similarity of each pixel's hue and a tube's: 1 at most, and about 0 for gray."""
    hue, tube_hue = without_gray(picture.astype(np.float32)), without_gray(255 * gas(len(picture)))
    lengths = np.maximum(np.linalg.norm(hue, axis=-1), 30) * np.linalg.norm(tube_hue, axis=-1)
    similarity: NDArray[np.float32] = (hue * tube_hue).sum(-1) / lengths
    return similarity


def without_gray(colors: NDArray[np.float32]) -> NDArray[np.float32]:
    centered: NDArray[np.float32] = colors - colors.mean(-1, keepdims=True)
    return centered
