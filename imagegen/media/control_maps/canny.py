"""Edges by Canny's method (A Computational Approach to Edge Detection, 1986), one pixel wide.

The result equals that of OpenCV's `Canny(picture, low, high)`, which the ControlNets for edges were trained with: no
blur, Sobel's filter of 3 x 3 pixels, the colour channel with the largest gradient, and |dx| + |dy| as its size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LOW, HIGH = 100, 200
# tan(22.5°), below which a gradient counts as horizontal, as a fixed-point number of BITS bits, as in OpenCV.
TANGENT, BITS = 13573, 15

Gradient = NDArray[np.int32]
Indices = NDArray[np.intp]


def canny(picture: Image.Image, low: int = LOW, high: int = HIGH) -> Image.Image:
    """Returns the edges of an RGB picture as white lines on black, an RGB picture of the same size.

    An edge has a gradient above `high` somewhere, and above `low` everywhere. Both mean what they mean in OpenCV: a
    step of 25 of 255 levels has a gradient of 100. If `low` is the larger one, they change places.
    """
    edges = find_edges(np.asarray(picture), *sorted((low, high)))
    return Image.fromarray(edges.astype(np.uint8) * 255).convert("RGB")


def find_edges(pixels: NDArray[np.uint8], low: int = LOW, high: int = HIGH) -> NDArray[np.bool_]:
    """Returns which pixels are on an edge: shape (h, w), from uint8 of shape (h, w, 3)."""
    dx, dy = apply_sobel(pixels)
    size = np.pad(np.abs(dx) + np.abs(dy), 1)
    ridges = find_ridges(dx, dy, size, low)
    edges: NDArray[np.bool_] = np.zeros(size.shape, bool)
    edges.flat[select_connected(ridges, size.ravel()[ridges] > high, size.shape)] = True
    return edges[1:-1, 1:-1]


def apply_sobel(pixels: NDArray[np.uint8]) -> tuple[Gradient, Gradient]:
    """Returns the horizontal and the vertical gradient, each of shape (h, w), of the channel where it is largest."""
    padded = np.pad(pixels.astype(np.int16), ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    columns = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    dx, dy = rows[:, 2:] - rows[:, :-2], columns[2:] - columns[:-2]
    largest = (np.abs(dx) + np.abs(dy)).argmax(axis=2)[..., None]
    best_dx, best_dy = (np.take_along_axis(gradient, largest, axis=2)[..., 0] for gradient in (dx, dy))
    return best_dx.astype(np.int32), best_dy.astype(np.int32)


def find_ridges(dx: Gradient, dy: Gradient, size: Gradient, low: int) -> Indices:
    """Returns the flat indices into `size` of pixels above `low` that are larger than both neighbours across the edge.

    `size` has a border of one zero on each side. The direction of a gradient is one of four.
    """
    width = size.shape[1]
    rows, columns = np.nonzero(size[1:-1, 1:-1] > low)
    across, down = dx[rows, columns], dy[rows, columns]
    x, y = np.abs(across), np.abs(down) << BITS
    is_horizontal = y < x * TANGENT
    # tan(67.5°) = tan(22.5°) + 2
    is_vertical = y > x * TANGENT + (x << (BITS + 1))
    diagonal = width + np.where((across < 0) == (down < 0), 1, -1)
    neighbour = np.where(is_horizontal, 1, np.where(is_vertical, width, diagonal))
    places = (rows + 1) * width + columns + 1
    sizes = size.ravel()
    own, before, after = sizes[places], sizes[places - neighbour], sizes[places + neighbour]
    # Of two equal neighbours, one is kept.
    is_ridge = (own > before) & ((own > after) | ((own == after) & (is_horizontal | is_vertical)))
    kept: Indices = places[is_ridge]
    return kept


def select_connected(places: Indices, is_strong: NDArray[np.bool_], shape: tuple[int, ...]) -> Indices:
    """Returns the places, flat indices of pixels, that are connected to a strong one through their eight neighbours.

    `is_strong` belongs to `places`. No place is on the border of `shape`.
    """
    width = shape[1]
    number = np.full(shape[0] * width, -1)
    number[places] = np.arange(len(places))
    firsts, seconds = [], []
    for step in (1, width - 1, width, width + 1):
        neighbour = number[places + step]
        is_place = neighbour >= 0
        firsts.append(np.flatnonzero(is_place))
        seconds.append(neighbour[is_place])
    labels = label_components(len(places), np.concatenate(firsts), np.concatenate(seconds))
    has_strong = np.zeros(len(places), bool)
    has_strong[labels[is_strong]] = True
    return places[has_strong[labels]]


def label_components(count: int, firsts: Indices, seconds: Indices) -> Indices:
    """Returns the smallest number in the component of each of `count` nodes; edges lead from firsts to seconds.

    Each round joins components with their neighbours, so that even a spiral of a million pixels takes few rounds
    (Shiloach and Vishkin, An O(log n) Parallel Connectivity Algorithm, 1982).
    """
    labels = np.arange(count)
    while True:
        one, other = labels[firsts], labels[seconds]
        is_open = one != other
        if not is_open.any():
            return labels
        firsts, seconds, one, other = firsts[is_open], seconds[is_open], one[is_open], other[is_open]
        np.minimum.at(labels, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(labels, shorter := labels[labels]):
            labels = shorter
