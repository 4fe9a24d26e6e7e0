"""Watercolor and pastel, with a ragged border of blank paper."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from PIL import Image

from training.drawing.styles.pixels import (
    Pixels,
    blurred,
    displaced,
    mixed,
    noise,
    outlines,
    sheet,
    to_image,
    to_pixels,
)

PAPER: Final = np.array([250, 247, 240], np.float32)
WASH: Final = 0.74
TONED_PAPERS: Final = np.array([[204, 184, 154], [172, 178, 188], [206, 176, 166], [178, 182, 160]], np.float32)
CHALK: Final = 0.82
CHALK_WHITE: Final = 232
BLANK: Final = np.float32(0.32)


def watercolor(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Pale washes, with more pigment in clouds and at edges."""
    size = image.width
    right, down, wash = (noise(rng, size, cells) for cells in (14, 14, 9))
    soft = displaced(to_pixels(blurred(image, 1 / 210)), right * 0.008, down * 0.008)
    pools = displaced(outlines(image)[..., None], right * 0.008, down * 0.008)[..., 0]
    pigment = WASH + 0.08 * wash + 0.035 * noise(rng, size, 40) + 0.1 * pools
    thin = 255 - (255 - soft) * pigment[..., None]
    return to_image(mixed(PAPER, thin, sheet(right * 0.02, 0.045, 0.03)))


def pastel(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Soft chalk in slanting strokes, with toned paper between them."""
    size = image.width
    tooth = noise(rng, size, 110)
    strokes = slanting(rng, size)
    soft = displaced(to_pixels(blurred(image, 1 / 190)), tooth * 0.006, strokes * 0.008)
    chalk = soft * CHALK + CHALK_WHITE * (1 - CHALK) + (8 * strokes)[..., None]
    paper = TONED_PAPERS[rng.integers(len(TONED_PAPERS))]
    blank: Pixels = np.clip(-1.3 - 1.4 * strokes - 1.2 * tooth, 0, 1)
    inside = sheet(strokes * 0.015 + tooth * 0.004, 0.05, 0.02)
    return to_image(mixed(paper, chalk, inside * (1 - BLANK * blank)))


def slanting(rng: np.random.Generator, size: int) -> Pixels:
    """Noise in streaks."""
    grid = Image.fromarray(rng.normal(0, 1, (72, 72)).astype(np.float32))
    angle = rng.uniform(0.6, 1.0)
    along, across = 14 / size, 46 / size
    cos, sin = math.cos(angle), math.sin(angle)
    affine = (cos * along, -sin * along, 14, sin * across, cos * across, 2)
    return np.asarray(grid.transform((size, size), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC))
