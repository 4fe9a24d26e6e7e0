"""Vehicles, in the coordinates of a brush; those that have a front face right."""

from __future__ import annotations

import random
from collections.abc import Sequence

from training.drawing.brush import Brush
from training.drawing.canvas import Point
from training.drawing.parts import BLUE, GOLD, INK, IRON, LAMP, ORANGE, PAPER, RED, glass, shade, tint, unlike
from training.drawing.vocabulary import Color

WOOD: Color = (112, 70, 38)
SILVER: Color = (206, 210, 216)


def car(brush: Brush, color: Color, rng: random.Random) -> None:
    roof = rng.uniform(-0.42, -0.3)
    brush.blob([(-0.86, 0.3), (-0.62, -0.1), (-0.4, roof), (0.24, roof), (0.5, -0.06), (0.9, 0.3)], color)
    brush.rounded(-1, 0.1, 1, 0.76, 0.24, color)
    brush.rounded(-1, 0.52, 1, 0.78, 0.13, shade(color))
    pane, light = glass(brush, color)
    pane.polygon([(-0.62, 0.12), (-0.4, roof + 0.14), (-0.12, roof + 0.12), (-0.12, 0.12)], light)
    pane.polygon([(0.02, 0.12), (0.02, roof + 0.12), (0.22, roof + 0.14), (0.46, 0.12)], light)
    brush.rounded(-0.1, 0.24, 0.1, 0.32, 0.04, shade(color, 0.18))
    _lamps(brush, color, 0.34)
    _wheels(brush, color, (-0.54, 0.54), 0.28)


def bus(brush: Brush, color: Color, rng: random.Random) -> None:
    top = rng.uniform(-0.62, -0.5)
    brush.rounded(-1, top, 1, 0.8, 0.16, color)
    brush.rounded(-1, top, 1, top + 0.3, 0.15, tint(color))
    brush.rectangle(-1, 0.5, 1, 0.62, shade(color, 0.18))
    pane, light = glass(brush, color)
    for left in (-0.86, -0.44, -0.02):
        pane.rounded(left, top + 0.22, left + 0.3, 0.08, 0.06, light)
    pane.rounded(0.42, top + 0.22, 0.62, 0.66, 0.05, light)
    pane.rounded(0.76, top + 0.22, 1, 0.12, 0.06, light)
    _lamps(brush, color, 0.5)
    _wheels(brush, color, (-0.56, 0.2), 0.24)


def _lamps(brush: Brush, color: Color, y: float) -> None:
    front = brush.shining() if brush.dark else brush
    front.ellipse(0.9, y, 0.1, 0.11, unlike(color, LAMP, PAPER))
    brush.rounded(-1, y - 0.08, -0.88, y + 0.08, 0.05, unlike(color, RED, GOLD))


def _wheels(brush: Brush, color: Color, positions: Sequence[float], size: float) -> None:
    for x in positions:
        brush.ellipse(x, 1 - size, size, size, unlike(color, INK, IRON))
        brush.ellipse(x, 1 - size, size * 0.52, size * 0.52, SILVER)


def boat(brush: Brush, color: Color, rng: random.Random) -> None:
    x = rng.uniform(-0.16, -0.06)
    hull = unlike(color, WOOD, INK)
    brush.rounded(x - 0.05, -1, x + 0.05, 0.7, 0.03, unlike(color, WOOD, INK))
    brush.polygon([(x + 0.08, -0.98), (x + 0.5, -0.5), (0.84, 0.1), (0.94, 0.46), (x + 0.08, 0.46)], color)
    brush.polygon([(x + 0.08, 0.2), (0.87, 0.2), (0.94, 0.46), (x + 0.08, 0.46)], shade(color, 0.1))
    brush.polygon([(x - 0.08, -0.82), (x - 0.08, 0.46), (-0.9, 0.46), (-0.6, 0.1)], tint(color))
    brush.polygon([(-1, 0.56), (1, 0.56), (0.74, 1), (-0.7, 1)], hull)
    brush.polygon([(-1, 0.56), (1, 0.56), (0.93, 0.68), (-0.92, 0.68)], shade(color))
    pane, light = glass(brush, hull)
    for x in (-0.3, 0.05, 0.4):
        pane.ellipse(x, 0.84, 0.08, 0.08, light)


def airplane(brush: Brush, color: Color, rng: random.Random) -> None:
    plane = brush.turned(rng.uniform(-20, -12))
    trim = unlike(color, BLUE, ORANGE)
    plane.polygon([(0.16, -0.1), (-0.3, -0.56), (-0.08, -0.56), (0.42, -0.1)], shade(color, 0.17))
    plane.blob([
        (-0.94, -0.2), (-0.4, -0.26), (0.5, -0.28), (0.92, -0.08),
        (0.98, 0.08), (0.8, 0.22), (0.3, 0.28), (-0.4, 0.2),
    ], color)  # fmt: skip
    plane.polygon([(-0.6, -0.18), (-0.8, -0.66), (-0.94, -0.66), (-0.96, -0.14)], trim)
    plane.polygon([(-0.62, 0.0), (-0.98, 0.24), (-0.86, 0.3), (-0.52, 0.12)], shade(color, 0.17))
    pane, light = glass(plane, color)
    for x in (-0.42, -0.14, 0.14, 0.42):
        pane.ellipse(x, -0.08, 0.085, 0.085, light)
    pane.blob([(0.66, -0.2), (0.84, -0.1), (0.86, 0.0), (0.68, 0.0)], light)
    plane.polygon([(0.32, 0.12), (-0.06, 0.12), (-0.52, 0.78), (-0.26, 0.78)], shade(color))


def rocket(brush: Brush, color: Color, rng: random.Random) -> None:
    trim = unlike(color, RED, PAPER)
    length = rng.uniform(0.9, 1)
    flame = brush.shining() if brush.dark else brush
    flame.blob([(-0.24, 0.5), (0.24, 0.5), (0.18, 0.8), (0, length), (-0.18, 0.8)], unlike(color, ORANGE, RED))
    flame.blob([(-0.13, 0.5), (0.13, 0.5), (0.1, 0.66), (0, 0.8), (-0.1, 0.66)], LAMP)
    for side in (-1, 1):
        brush.blob([(side * x, y) for x, y in ((0.4, 0.1), (0.74, 0.4), (0.76, 0.82), (0.3, 0.56))], trim)
    hull = [(-1.0, 0.02), (-0.7, 0.36), (-0.2, 0.52), (0.2, 0.5), (0.6, 0.3)]
    brush.blob(_both_sides(hull), color)
    brush.blob([*((half, y) for y, half in hull), *((half * 0.4, y) for y, half in reversed(hull))], shade(color, 0.1))
    brush.blob([(0, -1.0), (0.2, -0.87), (0.32, -0.7), (0, -0.62), (-0.32, -0.7), (-0.2, -0.87)], trim)
    brush.ellipse(0, -0.14, 0.24, 0.24, unlike(color, SILVER, IRON))
    pane, light = glass(brush, SILVER)
    pane.ellipse(0, -0.14, 0.16, 0.16, light)


def balloon(brush: Brush, color: Color, rng: random.Random) -> None:
    width = rng.uniform(0.94, 1.06)
    rope = unlike(color, WOOD, INK)
    for side in (-1, 1):
        brush.line([(side * 0.3, 0.36), (side * 0.17, 0.8)], rope, 0.07)
    if brush.dark:
        brush.shining().ellipse(0, 0.6, 0.1, 0.14, LAMP)
    envelope = [(-1.0, 0.0), (-0.86, 0.46), (-0.36, 0.74), (0.06, 0.6), (0.48, 0.24)]
    for share, tone in ((1, shade(color)), (0.72, color), (0.34, tint(color))):
        brush.blob(_both_sides([(y, x * share * width) for y, x in envelope]), tone)
    brush.rounded(-0.26, 0.42, 0.26, 0.54, 0.05, shade(color, 0.18))
    brush.rounded(-0.24, 0.72, 0.24, 1, 0.08, WOOD)
    brush.rounded(-0.26, 0.7, 0.26, 0.8, 0.04, unlike(color, GOLD, ORANGE))


def _both_sides(halves: Sequence[Point]) -> list[Point]:
    """The outline of what is symmetrical: a half width at each height, from the top down."""
    return [*((half, y) for y, half in halves), *((-half, y) for y, half in reversed(halves))]
