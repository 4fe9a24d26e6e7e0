"""Lines from left to right, where land ends and sky or other land begins."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import pairwise

from training.drawing.canvas import Point


def wave(rng: random.Random, base: float, height: float) -> list[Point]:
    """A gentle line."""
    turns, phase, ripple = rng.uniform(0.7, 1.4), rng.uniform(0, 6.28), rng.uniform(0, 6.28)
    xs = [i / 32 for i in range(33)]
    return [
        (x, base - height * (math.sin(6.28 * turns * x + phase) + 0.35 * math.sin(13.2 * turns * x + ripple)))
        for x in xs
    ]


def ridge(rng: random.Random, base: float, height: float, count: int) -> list[Point]:
    """A jagged line: peaks at the odd points, valleys between them."""
    points: list[Point] = [(-0.12, base - height * rng.uniform(0.1, 0.4))]
    for i in range(count):
        peak = (i + 0.5 + rng.uniform(-0.2, 0.2)) / count
        valley = (i + 1 + rng.uniform(-0.12, 0.12)) / count
        points.append((peak, base - height * rng.uniform(0.7, 1.0)))
        points.append((valley, base - height * rng.uniform(0.15, 0.4)))
    points[-1] = (1.12, points[-1][1])
    return points


def height_at(line: Sequence[Point], x: float) -> float:
    for (x0, y0), (x1, y1) in pairwise(line):
        if x0 <= x <= x1:
            return y0 + (y1 - y0) * (x - x0) / max(1e-6, x1 - x0)
    return line[-1][1] if x > line[-1][0] else line[0][1]


def lowered(line: Sequence[Point], by: float) -> list[Point]:
    return [(x, y + by) for x, y in line]


def along(first: Point, second: Point, share: float) -> Point:
    """From the first at 0 to the second at 1."""
    return first[0] + (second[0] - first[0]) * share, first[1] + (second[1] - first[1]) * share
