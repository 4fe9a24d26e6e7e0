"""Styles made of lines: line drawing, blueprint and comic."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from training.drawing.styles.pixels import (
    Pixels,
    axis,
    blurred,
    few_colors,
    from_border,
    mixed,
    outlines,
    to_image,
    to_pixels,
)

PAPER: Final = np.array([252, 251, 247], np.float32)
INK: Final = np.array([34, 34, 38], np.float32)
BLACK: Final = np.array([17, 17, 19], np.float32)
BLUE: Final = np.array([24, 60, 132], np.float32)
CHALK: Final = np.array([226, 238, 252], np.float32)
GRID_CELLS: Final = 16
COMIC_COLORS: Final = 14
CONTOUR_SIZE: Final = 96
DOTS: Final = 20
DOT_SHADE: Final = np.float32(0.74)
# Below this lightness, dots are lighter than what is around them.
NIGHT: Final = 0.22
NIGHT_DOT: Final = np.float32(26)


def line_drawing(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Dark outlines on pale paper."""
    tone = 0.1 - 0.1 * lightness(image)
    return to_image(mixed(PAPER * (1 - tone[..., None]), INK, outlines(image)))


def blueprint(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Pale lines on deep blue, with a faint grid and a frame."""
    size = image.width
    border = from_border(size)
    frame = np.abs(border - 0.035) < 0.006
    tone = 0.06 + 0.08 * lightness(image)
    paper = mixed(BLUE * np.float32(rng.uniform(0.85, 1.1)), CHALK, np.maximum(tone, 0.2 * grid(size)))
    lines = np.maximum(outlines(image) * (border > 0.035), 0.8 * frame)
    return to_image(mixed(paper, CHALK, lines))


def grid(size: int) -> Pixels:
    lines = ((axis(size) * GRID_CELLS + 0.5) % 1 < GRID_CELLS / 128).astype(np.float32)
    return np.maximum(lines, lines[:, None])


def comic(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A framed panel of flat colours, with thick black outlines, and dots in the shades."""
    flat = to_pixels(few_colors(ImageEnhance.Color(image).enhance(1.25), COMIC_COLORS))
    light = lightness(image)
    dot: Pixels = np.where((light < NIGHT)[..., None], flat + NIGHT_DOT, flat * DOT_SHADE)
    border = from_border(image.width)
    ink = np.maximum(contours(image), (border < 0.05).astype(np.float32))
    panel = mixed(mixed(flat, dot, dots(light, rng)), BLACK, ink)
    return to_image(mixed(panel, PAPER, (border < 0.032).astype(np.float32)))


def lightness(image: Image.Image) -> Pixels:
    return to_pixels(image.convert("L")) / np.float32(255)


def dots(light: Pixels, rng: np.random.Generator) -> Pixels:
    """Returns a screen of dots, which are larger where it is darker and on one side."""
    side = axis(len(light))
    x, y = side * DOTS * np.pi, side[:, None] * DOTS * np.pi
    screen = np.abs(np.cos(x) * np.cos(y))
    slope: Pixels = rng.choice([-1, 1]) * (side - 0.5) + (side[:, None] - 0.5)
    dark = np.clip(0.75 - 0.7 * light + 0.35 * slope, 0, 0.7)
    inside: Pixels = np.clip((screen - 1 + dark) * (len(light) / DOTS / 4), 0, 1)
    return inside


def contours(image: Image.Image) -> Pixels:
    """Returns thick lines around all but the smallest things, and finer ones where there are many."""
    small = image.resize((CONTOUR_SIZE, CONTOUR_SIZE), Image.Resampling.BOX).filter(ImageFilter.MedianFilter(3))
    edges = to_image(255 * outlines(small.resize(image.size, Image.Resampling.BICUBIC)))
    spread, crowd = (to_pixels(blurred(edges, share)) / np.float32(255) for share in (1 / 130, 1 / 36))
    ink: Pixels = np.clip(5 * spread - 1.9 - 12 * np.maximum(crowd - 0.52, 0), 0, 1)
    return ink
