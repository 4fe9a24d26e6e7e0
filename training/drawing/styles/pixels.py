"""Functions that styles share: noise, edges, and images as arrays. Lengths are shares of a side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.float32]


def to_pixels(image: Image.Image) -> Pixels:
    return np.asarray(image, np.float32)


def to_image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def blurred(image: Image.Image, share: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(image.width * share))


def mixed(first: Pixels, second: Pixels, amount: Pixels) -> Pixels:
    """Returns `first` where the amount, of shape (height, width), is 0, and `second` where it is 1."""
    return first + (second - first) * amount[..., None]


def axis(size: int) -> Pixels:
    """Returns the centres of the pixels of a side, from 0 to 1."""
    return ((np.arange(size) + 0.5) / size).astype(np.float32)


def noise(rng: np.random.Generator, size: int, cells: int) -> Pixels:
    grid = Image.fromarray(rng.normal(0, 1, (cells, cells)).astype(np.float32))
    return np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))


def displaced(pixels: Pixels, right: Pixels, down: Pixels) -> Pixels:
    size = len(pixels)
    steps = np.arange(size, dtype=np.float32)
    x = np.clip(steps + right * size, 0, size - 1).astype(np.intp)
    y = np.clip(steps[:, None] + down * size, 0, size - 1).astype(np.intp)
    moved: Pixels = pixels.reshape(size * size, -1)[y * size + x]
    return moved


def from_border(size: int) -> Pixels:
    """Returns the distance of every pixel from the nearest side."""
    near = np.minimum(axis(size), axis(size)[::-1])
    distance: Pixels = np.minimum(near, near[:, None])
    return distance


def sheet(ragged: Pixels, margin: float, softness: float) -> Pixels:
    """Returns 1 inside and 0 in a margin, whose edge follows `ragged`."""
    inside: Pixels = np.clip((from_border(len(ragged)) + ragged - margin) / softness, 0, 1)
    return inside


def outlines(image: Image.Image, reach: float = 1 / 150) -> Pixels:
    """Returns 1 where neighbours about `reach` apart on both sides differ clearly, 0 where they are similar."""
    soft = np.asarray(blurred(image, 1 / 256), np.int16)
    step = max(1, round(image.width * reach))
    across = np.abs(soft[:, 2 * step :] - soft[:, : -2 * step]).max(-1)
    down = np.abs(soft[2 * step :] - soft[: -2 * step]).max(-1)
    edges = np.zeros(soft.shape[:2], np.int16)
    edges[:, step:-step] = across
    edges[step:-step] = np.maximum(edges[step:-step], down)
    strength: Pixels = np.clip((edges.astype(np.float32) - 14) / 24, 0, 1)
    return strength


def few_colors(image: Image.Image, count: int) -> Image.Image:
    """Returns every pixel in the nearest of the image's `count` main colours."""
    small = image.resize((64, 64), Image.Resampling.NEAREST)
    chief = small.quantize(count, Image.Quantize.MEDIANCUT, kmeans=1)
    return image.quantize(palette=chief, dither=Image.Dither.NONE).convert("RGB")
