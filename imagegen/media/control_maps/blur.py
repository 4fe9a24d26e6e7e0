"""Gaussian blur, and the size at which soft filters work."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Filters with a scale in pixels mean pixels of a picture whose shorter side is this. Larger ones are made smaller, as
# the ControlNet extension of AUTOMATIC1111's web UI does by default.
WORKING_SIDE = 512

Floats = NDArray[np.float32]


def shrink(picture: Image.Image) -> tuple[Floats, float]:
    """Returns the picture with a shorter side of at most WORKING_SIDE, float32 of shape (h, w, 3) in 0..255, and the
    number of its pixels for one pixel of a scale.
    """
    shorter = min(picture.size)
    if shorter > WORKING_SIDE:
        share = WORKING_SIDE / shorter
        picture = picture.resize((round(picture.width * share), round(picture.height * share)), Image.Resampling.BOX)
    return np.asarray(picture, np.float32), min(1.0, shorter / WORKING_SIDE)


def blur(pixels: Floats, sigma: float) -> Floats:
    """Returns pixels of shape (h, w, channels), blurred with this standard deviation in pixels; edges are repeated."""
    radius = math.ceil(4 * sigma)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-6)) ** 2)
    weights /= weights.sum()
    blurred_columns = convolve_columns(pixels, weights)
    return convolve_columns(blurred_columns.swapaxes(0, 1), weights).swapaxes(0, 1)


def convolve_columns(pixels: Floats, weights: NDArray[np.float64]) -> Floats:
    radius, height = len(weights) // 2, len(pixels)
    padded = np.pad(pixels, ((radius, radius), (0, 0), (0, 0)), mode="edge")
    result: Floats = np.zeros(pixels.shape, np.float32)
    for start, weight in enumerate(weights):
        result += np.float32(weight) * padded[start : start + height]
    return result
