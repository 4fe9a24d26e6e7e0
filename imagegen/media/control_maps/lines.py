"""Soft and thick lines where a picture has edges."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from imagegen.media.control_maps.blur import Floats, blur, shrink

# The scale of soft edges in pixels, and the step in all three channels that becomes white.
SOFT_SCALE, SOFT_CONTRAST = 2.0, 128
# The two scales of a scribble's lines in pixels, and how much darker than its surroundings a line is, in 0..255.
FINE_SCALE, WIDE_SCALE, DARKNESS = 0.5, 5.0, 16


def softedge(picture: Image.Image) -> Image.Image:
    """Returns the strength of the edges of an RGB picture, soft and white on black, in the same size.

    It is the largest change of colour in any direction (Di Zenzo, A Note on the Gradient of a Multi-Image, 1986), of
    the blurred picture. Networks for soft edges, such as HED, leave out more texture.
    """
    pixels, share = shrink(picture)
    scale = max(SOFT_SCALE * share, 0.5)
    blurred = blur(pixels, scale)
    across = differentiate(blurred.swapaxes(0, 1)).swapaxes(0, 1)
    down = differentiate(blurred)
    horizontal, vertical, mixed = ((a * b).sum(axis=2) for a, b in ((across, across), (down, down), (across, down)))
    largest = (horizontal + vertical + np.sqrt((horizontal - vertical) ** 2 + 4 * mixed**2)) / 2
    # The largest slope of a blurred step of 1.
    slope = 1 / (scale * math.sqrt(2 * math.pi))
    strength = np.sqrt(largest) * 255 / (math.sqrt(3) * SOFT_CONTRAST * slope)
    return to_picture(strength.clip(0, 255), picture.size)


def scribble(picture: Image.Image) -> Image.Image:
    """Returns thick white lines on black where an RGB picture is darker than its surroundings, in the same size.

    The lines are where the difference of two Gaussian blurs exceeds a threshold in every channel (Winnemöller et al.,
    XDoG: An eXtended difference-of-Gaussians compendium, 2012), with the scales and the threshold of the module
    `scribble_xdog` of the ControlNet extension.
    """
    pixels, share = shrink(picture)
    difference = blur(pixels, WIDE_SCALE * share) - blur(pixels, FINE_SCALE * share)
    lines = np.where(difference.min(axis=2) > DARKNESS, np.float32(255), np.float32(0))
    return to_picture(lines, picture.size).point(lambda level: 255 if level >= 128 else 0)


def differentiate(values: Floats) -> Floats:
    """Returns the slope along the first axis; the edges are repeated."""
    padded = np.pad(values, ((1, 1), (0, 0), (0, 0)), mode="edge")
    slope: Floats = (padded[2:] - padded[:-2]) / np.float32(2)
    return slope


def to_picture(levels: Floats, size: tuple[int, int]) -> Image.Image:
    """Returns gray levels in 0..255, of shape (h, w), as an RGB picture of this width and height."""
    return Image.fromarray(levels.round().astype(np.uint8)).resize(size, Image.Resampling.BILINEAR).convert("RGB")
