"""Smooth lines through points, and ovals, as many short straight lines."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from training.drawing.canvas import Point

STEPS = 16


def closed_curve(points: Sequence[Point]) -> list[Point]:
    return _catmull_rom([points[-1], *points, *points[:2]])


def open_curve(points: Sequence[Point]) -> list[Point]:
    return [*_catmull_rom([points[0], *points, points[-1]]), points[-1]]


def _catmull_rom(points: Sequence[Point]) -> list[Point]:
    """Catmull-Rom splines from the second point to the last but one."""
    corners = np.array(points)[:, None]
    p, q, r, s = corners[:-3], corners[1:-2], corners[2:-1], corners[3:]
    t = np.linspace(0, 1, STEPS, endpoint=False)[:, None]
    curve = q + t / 2 * (r - p + t * (2 * p - 5 * q + 4 * r - s + t * (3 * (q - r) + s - p)))
    return [(x, y) for x, y in curve.reshape(-1, 2).tolist()]


def oval(x: float, y: float, width: float, height: float, angle: float = 0) -> list[Point]:
    """Centre, half axes, and degrees clockwise."""
    around = [math.tau * i / 48 for i in range(48)]
    return [turn((x + width * math.cos(t), y + height * math.sin(t)), angle, (x, y)) for t in around]


def turn(point: Point, angle: float, center: Point = (0, 0)) -> Point:
    """Degrees clockwise, as y is downwards."""
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    x, y = point[0] - center[0], point[1] - center[1]
    return center[0] + x * cosine - y * sine, center[1] + x * sine + y * cosine
