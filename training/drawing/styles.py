"""What a style does to a finished drawing."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.float32]
PAPER = np.array([250, 247, 240], np.float32)
PIXEL_ART_CELLS = 32


def stylise(image: Image.Image, style: str, rng: random.Random) -> Image.Image:
    match style:
        case "plain":
            return image
        case "watercolor":
            return watercolor(image, np.random.default_rng(rng.getrandbits(32)))
        case "pixel art":
            return pixel_art(image)
        case "line drawing":
            return line_drawing(image)
    raise ValueError(f"No style is called {style!r}")


def watercolor(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Wet edges, uneven washes, and a ragged border of bare paper."""
    size = image.width
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32)
    right, down, wash = (noise(rng, size, cells) for cells in (14, 14, 9))
    x = np.clip(columns + right * size * 0.008, 0, size - 1).astype(int)
    y = np.clip(rows + down * size * 0.008, 0, size - 1).astype(int)
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(size / 210)), np.float32)[y, x]
    thin = 255 - (255 - soft) * (0.74 + 0.08 * wash[..., None])
    border = (
        np.minimum(np.minimum(columns, size - 1 - columns), np.minimum(rows, size - 1 - rows)) + right * size * 0.02
    )
    paint = np.clip((border - size * 0.045) / (size * 0.03), 0, 1)[..., None]
    return to_image(thin * paint + PAPER * (1 - paint))


def pixel_art(image: Image.Image) -> Image.Image:
    """A grid of 32 cells a side, and few levels of each colour."""
    cells = np.asarray(image.resize((PIXEL_ART_CELLS, PIXEL_ART_CELLS), Image.Resampling.BOX), np.float32)
    return to_image((cells + 16) // 32 * 32).resize(image.size, Image.Resampling.NEAREST)


def line_drawing(image: Image.Image) -> Image.Image:
    """Dark outlines on pale paper."""
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(image.width / 256)), np.float32)
    edges = np.zeros(soft.shape[:2], np.float32)
    across = np.abs(soft[1:-1, 2:] - soft[1:-1, :-2]).max(-1)
    down = np.abs(soft[2:, 1:-1] - soft[:-2, 1:-1]).max(-1)
    edges[1:-1, 1:-1] = np.clip((np.maximum(across, down) - 14) / 24, 0, 1)
    paper = 252 - 26 * (1 - soft.mean(-1) / 255)
    ink = paper * (1 - edges) + 35 * edges
    return to_image(np.repeat(ink[..., None], 3, axis=-1))


def noise(rng: np.random.Generator, size: int, cells: int) -> Pixels:
    grid = Image.fromarray(rng.normal(0, 1, (cells, cells)).astype(np.float32))
    return np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))


def to_image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
