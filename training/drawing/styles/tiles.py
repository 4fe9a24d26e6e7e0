"""Styles made of cells of one colour each: pixel art and mosaic."""

from __future__ import annotations

from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.drawing.styles.pixels import Pixels, axis, few_colors, to_image, to_pixels

PIXEL_ART_CELLS: Final = 32
PIXEL_ART_COLORS: Final = 20
TESSERAE: Final = (22, 26)
JITTER: Final = 0.3
GROUT: Final = 0.75


def pixel_art(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A grid of 32 cells a side, in few colours."""
    cells = image.resize((PIXEL_ART_CELLS, PIXEL_ART_CELLS), Image.Resampling.BOX)
    return few_colors(cells, PIXEL_ART_COLORS).resize(image.size, Image.Resampling.NEAREST)


def mosaic(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Uneven stones, each with a lit and a shaded side, in dark grout."""
    size, cells = image.width, int(rng.integers(*TESSERAE, endpoint=True))
    sites = np.stack(np.meshgrid(*[np.arange(-1, cells + 1) + 0.5] * 2), -1).astype(np.float32)
    sites += rng.uniform(-JITTER, JITTER, sites.shape).astype(np.float32)
    owners, joint = voronoi(sites, size, cells)
    flat = sites.reshape(-1, 2)
    columns, rows = np.clip(flat * (size / cells), 0, size - 1).astype(np.intp).T
    stones = to_pixels(image)[rows, columns]
    stones *= rng.normal(1, 0.04, (len(stones), 1)).astype(np.float32)
    side = axis(size) * cells
    slope = side + side[:, None] - flat.sum(-1)[owners]
    light = (1 - 0.08 * slope) * (1 - (1 - GROUT) * np.clip(1.5 - joint * 9, 0, 1))
    return to_image(stones[owners] * light[..., None])


def voronoi(sites: Pixels, size: int, cells: int) -> tuple[NDArray[np.intp], Pixels]:
    """Returns the nearest of sites on an uneven grid, and about how far it is to the next one's cell, in cells."""
    side = axis(size) * cells
    home = side.astype(np.intp)
    indices = np.arange(sites.shape[0] * sites.shape[1]).reshape(sites.shape[:2])
    owners = np.zeros((size, size), np.intp)
    nearest, next_nearest = (np.full((size, size), 9, np.float32) for _ in range(2))
    for down, right in product(range(3), repeat=2):
        cell = np.ix_(home + down, home + right)
        x, y = (sites[..., i][cell] for i in range(2))
        distance = np.square(x - side) + np.square(y - side[:, None])
        np.copyto(owners, indices[cell], where=distance < nearest)
        next_nearest = np.minimum(next_nearest, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    joint: Pixels = (next_nearest - nearest) / np.float32(2)
    return owners, joint
