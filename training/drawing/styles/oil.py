"""Oil paint: broad strokes along the edges first, then finer ones where the result differs from the drawing."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance

from training.drawing.styles.pixels import Pixels, noise, to_image, to_pixels

SUPERSAMPLING: Final = 2
# Number of strokes a side, and half length and half width of a stroke.
BROAD: Final = (20, 0.062, 0.026)
FINE: Final = (60, 0.022, 0.009)
MISSED: Final = 26
SHADES: Final = 7
FLOW_CELLS: Final = 64
# A stroke is a lozenge with blunt ends.
CORNERS: Final = np.array(
    [(-1, -0.35), (-0.7, -1), (0.75, -0.9), (1, -0.2), (0.9, 0.6), (0.6, 1), (-0.8, 0.9)], np.float32
)


def oil_painting(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    vivid = ImageEnhance.Color(image).enhance(1.2)
    angles = flow(vivid, rng)
    # The fourth channel is the height of the paint.
    painted = vivid.resize((image.width * SUPERSAMPLING,) * 2, Image.Resampling.NEAREST).convert("RGBA")
    broad = scattered(rng, BROAD[0])
    paint(painted, vivid, broad, angles, BROAD, rng)
    fine = scattered(rng, FINE[0])
    paint(painted, vivid, fine[differs(painted, vivid, fine)], angles, FINE, rng)
    return lit(painted.reduce(SUPERSAMPLING))


def flow(image: Image.Image, rng: np.random.Generator) -> Pixels:
    """Returns the direction of the strokes: along edges, and in slow curves where there are none."""
    gray = to_pixels(image.convert("L").resize((FLOW_CELLS, FLOW_CELLS), Image.Resampling.BOX))
    down, across = (np.asarray(slope, np.float32) for slope in np.gradient(gray))
    wander = 2 * (rng.uniform(0, np.pi) + 0.5 * noise(rng, FLOW_CELLS, 5))
    x = 6 * np.cos(wander) - smooth(across * across - down * down)
    y = 6 * np.sin(wander) - smooth(2 * across * down)
    angles: Pixels = np.arctan2(y, x) / 2
    return angles


def smooth(values: Pixels) -> Pixels:
    small = Image.fromarray(values).resize((16, 16), Image.Resampling.BOX)
    return np.asarray(small.resize((FLOW_CELLS, FLOW_CELLS), Image.Resampling.BICUBIC))


def scattered(rng: np.random.Generator, cells: int) -> Pixels:
    """Returns one position (y, x) in every cell, in random order."""
    corners = np.stack(np.divmod(rng.permutation(cells**2), cells), -1)
    return ((corners + rng.uniform(0.1, 0.9, corners.shape)) / cells).astype(np.float32)


def differs(painted: Image.Image, image: Image.Image, positions: Pixels) -> NDArray[np.bool_]:
    difference: NDArray[np.bool_] = np.abs(at(painted, positions)[:, :3] - at(image, positions)).max(-1) > MISSED
    return difference


def at(image: Image.Image, positions: Pixels) -> Pixels:
    rows, columns = (positions * image.width).astype(np.intp).T
    colors: Pixels = np.asarray(image)[rows, columns].astype(np.float32)
    return colors


def paint(
    painted: Image.Image,
    image: Image.Image,
    positions: Pixels,
    angles: Pixels,
    stroke: tuple[int, float, float],
    rng: np.random.Generator,
) -> None:
    _, length, width = stroke
    rows, columns = (positions * FLOW_CELLS).astype(np.intp).T
    turned = (angles[rows, columns] + rng.normal(0, 0.15, len(positions))).astype(np.float32)
    shades = at(image, positions) + rng.normal(0, SHADES, (len(positions), 1))
    heights = rng.uniform(60, 255, (len(positions), 1))
    fills = np.clip(np.hstack([shades, heights]), 0, 255).astype(np.uint8)
    pen = ImageDraw.Draw(painted)
    outlines = outlined(positions, turned, length, width) * painted.width
    for outline, fill in zip(
        outlines.reshape(len(positions), CORNERS.size).tolist(), map(tuple, fills.tolist()), strict=True
    ):
        pen.polygon(outline, fill=fill)


def outlined(positions: Pixels, angles: Pixels, length: float, width: float) -> Pixels:
    """Returns the corners (x, y) of every stroke."""
    along, across = CORNERS[:, 0] * length, CORNERS[:, 1] * width
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    x = positions[:, 1:] + cos * along - sin * across
    y = positions[:, :1] + sin * along + cos * across
    return np.stack([x, y], -1)


def lit(painted: Image.Image) -> Image.Image:
    """Adds light from the upper left to the relief of the paint."""
    pixels = to_pixels(painted)
    height = pixels[..., 3]
    step = max(1, painted.width // 160)
    light = np.zeros_like(height)
    light[step:, step:] = height[step:, step:] - height[:-step, :-step]
    return to_image(pixels[..., :3] + 0.14 * light[..., None])
