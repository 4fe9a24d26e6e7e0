"""Whether a picture is in neon, told by its pixels alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.dataset import Pixels
from training.drawing.neon import gas

DARK, BRIGHT = 70, 80
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def is_neon(picture: Pixels) -> bool:
    """Much is dark, something is bright, and what is bright has the colour that a tube has at that place."""
    luma = picture.astype(np.float32) @ LUMA
    bright = luma > BRIGHT
    if (luma < DARK).mean() < 0.4 or bright.mean() < 0.01:
        return False
    return bool(likeness(picture)[bright].mean() > 0.75)


def likeness(picture: Pixels) -> NDArray[np.float32]:
    """How far the hue of each pixel is that of a tube: 1 at most, and about 0 for gray."""
    hue, wanted = without_gray(picture.astype(np.float32)), without_gray(255 * gas(len(picture)))
    lengths = np.maximum(np.linalg.norm(hue, axis=-1), 30) * np.linalg.norm(wanted, axis=-1)
    alike: NDArray[np.float32] = (hue * wanted).sum(-1) / lengths
    return alike


def without_gray(colors: NDArray[np.float32]) -> NDArray[np.float32]:
    centered: NDArray[np.float32] = colors - colors.mean(-1, keepdims=True)
    return centered
