"""Buildings, plants and other things, in the coordinates of a brush."""

from __future__ import annotations

import math
import random
from itertools import pairwise

from training.drawing.brush import Brush
from training.drawing.canvas import Point
from training.drawing.parts import CREAM, GOLD, INK, IRON, PAPER, glass, shade, tint, unlike
from training.drawing.vocabulary import Color

BARK: Color = (104, 66, 40)
LEAF: Color = (58, 140, 58)
PINE: Color = (20, 84, 62)
TILES: Color = (168, 58, 44)
SLATE: Color = (74, 76, 88)


def house(brush: Brush, color: Color, rng: random.Random) -> None:
    eaves = rng.uniform(-0.24, -0.14)
    chimney = rng.choice((-0.5, 0.5))
    roof = unlike(color, TILES, SLATE)
    brush.rectangle(chimney - 0.13, -0.92, chimney + 0.13, -0.3, unlike(color, IRON, BARK))
    brush.rectangle(-0.88, eaves, 0.88, 1, color)
    brush.polygon([(-0.88, eaves), (0, -0.88), (0.88, eaves)], color)
    brush.rectangle(-0.88, 0.88, 0.88, 1, shade(color))
    brush.line([(-0.92, eaves + 0.02), (0, -0.88), (0.92, eaves + 0.02)], roof, 0.21)
    brush.rounded(-0.17, 0.4, 0.17, 1, 0.06, unlike(color, BARK, INK))
    pane, light = glass(brush, color)
    for x, y in ((-0.52, 0.34), (0.52, 0.34), (0, -0.22)):
        brush.rounded(x - 0.2, y - 0.2, x + 0.2, y + 0.2, 0.04, unlike(color, PAPER, SLATE))
        pane.rectangle(x - 0.13, y - 0.13, x + 0.13, y + 0.13, light)


def tree(brush: Brush, color: Color, rng: random.Random) -> None:
    bark = unlike(color, BARK, SLATE)
    brush.polygon([(-0.13, 0.1), (0.13, 0.1), (0.16, 0.84), (0.3, 1), (-0.3, 1), (-0.16, 0.84)], bark)
    brush.line([(0.04, 0.6), (0.36, 0.2)], bark, 0.12)
    puffs = [
        (-0.5, 0.02, 0.4), (0.5, 0.02, 0.4), (0, 0.14, 0.4), (-0.42, -0.42, 0.42), (0.42, -0.42, 0.42),
        (0, -0.58, 0.42),
    ]  # fmt: skip
    for i, (x, y, size) in enumerate(puffs):
        radius = size * rng.uniform(0.94, 1.06)
        brush.ellipse(x, y, radius, radius, shade(color) if i < 3 else color)
    brush.ellipse(0, -0.2, 0.6, 0.4, color)
    for x, y in ((-0.36, -0.52), (0.16, -0.66), (0.38, -0.24)):
        brush.ellipse(x, y, 0.2, 0.15, tint(color))


def flower(brush: Brush, color: Color, rng: random.Random) -> None:
    green = unlike(color, LEAF, PINE)
    petals = rng.choice((5, 6, 7))
    brush.stroke([(0, -0.2), (0.04, 0.5), (0, 0.96)], green, 0.14)
    brush.oval(0.3, 0.74, 0.3, 0.13, -35, green)
    brush.oval(-0.3, 0.8, 0.3, 0.13, 35, green)
    for i in range(petals):
        angle = 360 * i / petals - 90
        x, y = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        brush.oval(0.42 * x, -0.32 + 0.42 * y, 0.32, 1.35 / petals, angle, color if i % 2 else tint(color))
    brush.ellipse(0, -0.32, 0.23, 0.23, unlike(color, GOLD, BARK))


def mushroom(brush: Brush, color: Color, rng: random.Random) -> None:
    stem = unlike(color, CREAM, (196, 160, 120))
    brush.blob([(-0.26, 0.1), (0.26, 0.1), (0.28, 0.6), (0.4, 0.94), (0, 1), (-0.4, 0.94), (-0.28, 0.6)], stem)
    brush.ellipse(0, 0.16, 0.6, 0.14, shade(stem, 0.2))
    top = rng.uniform(-1, -0.88)
    brush.blob(
        [(-0.98, 0.08), (-0.78, -0.52), (0, top), (0.78, -0.52), (0.98, 0.08), (0.6, 0.22), (0, 0.12), (-0.6, 0.22)],
        color,
    )
    spots = unlike(color, PAPER, (222, 190, 160))
    for x, y, size in ((-0.02, -0.6, 0.2), (-0.54, -0.28, 0.16), (0.52, -0.34, 0.17), (0.08, -0.12, 0.14)):
        brush.ellipse(x, y, size, size * 0.85, spots)


def apple(brush: Brush, color: Color, rng: random.Random) -> None:
    half = [(0, -0.46), (0.42, -0.62), (0.86, -0.34), (0.9, 0.2), (0.58, 0.84), (0.26, 0.98), (0, 0.9)]
    mirror = [(-x, y) for x, y in half[-2:0:-1]]
    lean = rng.uniform(-0.06, 0.14)
    brush.blob([*half, *mirror], shade(color, 0.1))
    brush.blob([(x * 0.8 + 0.02, y * 0.8 - 0.04) for x, y in [*half, *mirror]], color)
    brush.stroke([(0, -0.42), (0.02, -0.7), (lean, -0.94)], unlike(color, BARK, SLATE), 0.12, 0.14)
    brush.oval(0.36, -0.78, 0.32, 0.15, -25, unlike(color, LEAF, PINE))
    brush.oval(-0.5, -0.2, 0.13, 0.22, 25, unlike(color, PAPER, CREAM))


def umbrella(brush: Brush, color: Color, rng: random.Random) -> None:
    handle = unlike(color, BARK, INK)
    brush.stroke([(0, -0.9), (0, 0.7), (0.06, 0.9), (0.2, 0.93), (0.32, 0.86), (0.36, 0.7)], handle, 0.12)
    bounds = (-1, -0.42, 0.42, 1)
    for i, (left, right) in enumerate(pairwise(bounds)):
        brush.polygon(_panel(left, right), tint(color, 0.1) if i == 1 else shade(color, 0.08 * i))
    brush.ellipse(0, -0.92, 0.08, 0.08, handle)


def _panel(left: float, right: float) -> list[Point]:
    """Between two ribs, from the top of an umbrella to its edge."""
    angles = [math.pi / 2 * i / 12 for i in range(13)]
    ribs = [[(x * math.sin(t), 0.14 - math.cos(t)) for t in angles] for x in (left, right)]
    middle, half = (left + right) / 2, (right - left) / 2
    edge = [(middle + half * math.cos(t), 0.14 - 0.16 * math.sin(t)) for t in (2 * a for a in angles)]
    return [*ribs[0], *reversed(edge), *reversed(ribs[1])]
