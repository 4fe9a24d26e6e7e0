"""Animals, in the coordinates of a brush."""

from __future__ import annotations

import math
import random

from training.drawing.brush import Brush
from training.drawing.parts import CREAM, GOLD, INK, IRON, ORANGE, PAPER, RED, eye, pale, shade, tint, unlike
from training.drawing.vocabulary import Color

ROSE: Color = (240, 132, 150)


def cat(brush: Brush, color: Color, rng: random.Random) -> None:
    tip = rng.uniform(-0.25, 0.15)
    brush.stroke([(0.3, 0.86), (0.78, 0.8), (0.84, 0.4), (0.76, tip)], shade(color), 0.24, 0.2)
    _sitting(brush, color, rng.uniform(0.46, 0.54))
    for side in (-1, 1):
        brush.polygon([(side * 0.64, -0.3), (side * 0.58, -1), (side * 0.06, -0.7)], color)
        brush.polygon([(side * 0.53, -0.5), (side * 0.51, -0.82), (side * 0.26, -0.66)], ROSE)
    brush.ellipse(0, -0.26, 0.68, 0.52, color)
    for x, length in ((-0.17, 0.16), (0, 0.24), (0.17, 0.16)):
        brush.stroke([(x, -0.72), (x * 0.9, -0.72 + length)], shade(color, 0.18), 0.1, 0.06)
    _face(brush, color, -0.24)


def rabbit(brush: Brush, color: Color, rng: random.Random) -> None:
    lean = rng.uniform(6, 14)
    brush.ellipse(0.58, 0.78, 0.18, 0.18, unlike(color, PAPER, shade(color)))
    _sitting(brush, color, rng.uniform(0.54, 0.6))
    for side in (-1, 1):
        brush.oval(side * 0.3, -0.6, 0.19, 0.44, side * lean, color)
        brush.oval(side * 0.3, -0.58, 0.09, 0.32, side * lean, ROSE)
    brush.ellipse(0, -0.03, 0.56, 0.44, color)
    _face(brush, color, -0.02)
    brush.rectangle(-0.08, 0.2, 0.08, 0.31, PAPER)


def _sitting(brush: Brush, color: Color, width: float) -> None:
    w = width
    brush.blob([(0, 0), (0.7 * w, 0.2), (w, 0.7), (0.8 * w, 0.98), (-0.8 * w, 0.98), (-w, 0.7), (-0.7 * w, 0.2)], color)
    brush.ellipse(0, 0.56, 0.24, 0.28, pale(color))
    for side in (-1, 1):
        brush.ellipse(side * 0.25, 0.9, 0.21, 0.1, tint(color) if side < 0 else shade(color, 0.08))


def _face(brush: Brush, color: Color, y: float) -> None:
    brush.ellipse(0, y + 0.2, 0.26, 0.17, pale(color))
    for side in (-1, 1):
        eye(brush, side * 0.27, y - 0.04, 0.15)
    brush.ellipse(0, y + 0.12, 0.09, 0.065, ROSE)


def dog(brush: Brush, color: Color, rng: random.Random) -> None:
    wag = rng.uniform(-0.1, 0.1)
    far = shade(color, 0.17)
    for x in (-0.38, 0.26):
        brush.rounded(x - 0.12, 0.2, x + 0.12, 0.97, 0.1, far)
    brush.stroke([(-0.6, 0.1), (-0.84, -0.16), (-0.88 + wag, -0.55)], color, 0.24, 0.14)
    brush.rounded(-0.78, -0.1, 0.56, 0.54, 0.26, color)
    brush.polygon([(0.05, 0.0), (0.22, -0.5), (0.68, -0.3), (0.56, 0.3)], color)
    for x in (-0.62, 0.42):
        brush.rounded(x - 0.14, 0.2, x + 0.14, 1, 0.12, color)
        brush.rounded(x - 0.14, 0.84, x + 0.2, 1, 0.08, pale(color))
    brush.stroke([(0.2, -0.08), (0.42, 0.02), (0.64, -0.04)], unlike(color, RED, GOLD), 0.14)
    brush.ellipse(0.44, -0.5, 0.42, 0.4, color)
    brush.rounded(0.48, -0.52, 1, -0.16, 0.16, pale(color))
    brush.ellipse(0.92, -0.46, 0.12, 0.1, INK)
    eye(brush, 0.56, -0.62, 0.14)
    brush.blob([(0.2, -0.84), (0.36, -0.6), (0.32, -0.1), (0.12, 0.0), (-0.02, -0.2), (0.02, -0.6)], far)


def sheep(brush: Brush, color: Color, rng: random.Random) -> None:
    skin = unlike(color, (66, 58, 62), CREAM)
    for x in (-0.5, -0.22, 0.16, 0.44):
        brush.rounded(x - 0.1, 0.3, x + 0.1, 1, 0.06, skin)
    _fleece(brush, color, rng.uniform(0, 1))
    brush.oval(0.5, -0.26, 0.2, 0.1, 20, skin)
    brush.oval(0.74, -0.12, 0.25, 0.36, -20, skin)
    for x, y in ((0.5, -0.46), (0.7, -0.54), (0.86, -0.42)):
        brush.ellipse(x, y, 0.17, 0.15, color)
    eye(brush, 0.78, -0.16, 0.12)


def _fleece(brush: Brush, color: Color, phase: float) -> None:
    around = [(math.cos(t), math.sin(t)) for t in (math.tau * (i + phase) / 11 for i in range(11))]
    for dx, dy in around:
        brush.ellipse(-0.14 + 0.62 * dx, 0.1 + 0.42 * dy, 0.24, 0.24, shade(color, 0.1) if dy > 0.2 else color)
    brush.ellipse(-0.14, 0.06, 0.66, 0.44, color)
    for x, y in ((-0.5, -0.02), (-0.12, 0.14), (0.2, -0.08)):
        brush.ellipse(x, y, 0.15, 0.13, shade(color, 0.1))
        brush.ellipse(x, y - 0.07, 0.15, 0.13, color)


def owl(brush: Brush, color: Color, rng: random.Random) -> None:
    w = rng.uniform(0.72, 0.8)
    beak = unlike(color, ORANGE, GOLD)
    for side in (-1, 1):
        brush.rounded(side * 0.24 - 0.15, 0.82, side * 0.24 + 0.15, 1, 0.08, beak)
        brush.polygon([(side * 0.66, -0.5), (side * 0.62, -1), (side * 0.08, -0.74)], color)
    brush.blob(
        [(0, -0.82), (0.64, -0.62), (w, 0.1), (0.5, 0.8), (0, 0.92), (-0.5, 0.8), (-w, 0.1), (-0.64, -0.62)], color
    )
    brush.ellipse(0, 0.5, 0.3, 0.3, pale(color))
    for x, y in ((-0.13, 0.42), (0.13, 0.42), (0, 0.6)):
        brush.ellipse(x, y, 0.1, 0.08, shade(color))
    for side in (-1, 1):
        wing = [(0.58, -0.06), (0.84, 0.14), (0.8, 0.56), (0.5, 0.84), (0.44, 0.4)]
        brush.blob([(side * x, y) for x, y in wing], shade(color, 0.17))
        brush.ellipse(side * 0.28, -0.34, 0.28, 0.28, pale(color))
        eye(brush, side * 0.27, -0.34, 0.2)
    brush.polygon([(-0.12, -0.2), (0.12, -0.2), (0, 0.08)], beak)


def duck(brush: Brush, color: Color, rng: random.Random) -> None:
    bill = unlike(color, ORANGE, GOLD)
    tail = rng.uniform(-0.28, -0.14)
    for x in (-0.2, 0.14):
        brush.rounded(x - 0.05, 0.6, x + 0.07, 0.98, 0.03, bill)
        brush.rounded(x - 0.06, 0.88, x + 0.26, 1, 0.06, bill)
    brush.rounded(0.6, -0.62, 1, -0.36, 0.13, bill)
    brush.blob(
        [(-0.98, tail), (-0.5, 0.06), (0.0, 0.0), (0.6, -0.1), (0.68, 0.34), (0.3, 0.72), (-0.4, 0.74), (-0.82, 0.4)],
        color,
    )
    brush.polygon([(0.1, -0.5), (0.72, -0.4), (0.66, 0.2), (0.0, 0.2)], color)
    brush.ellipse(0.4, -0.58, 0.4, 0.39, color)
    brush.blob([(-0.62, 0.2), (-0.1, 0.12), (0.26, 0.24), (0.12, 0.5), (-0.3, 0.56)], shade(color))
    eye(brush, 0.52, -0.66, 0.13)


def fish(brush: Brush, color: Color, rng: random.Random) -> None:
    fork = rng.uniform(0.4, 0.5)
    fin = shade(color, 0.16)
    brush.blob([(-0.4, 0), (-0.94, -fork), (-0.9, -0.2), (-0.76, 0), (-0.9, 0.2), (-0.94, fork)], fin)
    brush.blob([(-0.35, -0.3), (-0.3, -0.7), (0.1, -0.74), (0.4, -0.36)], fin)
    brush.blob([(-0.1, 0.4), (-0.24, 0.72), (0.1, 0.62), (0.24, 0.36)], fin)
    brush.blob(
        [(-0.62, 0), (-0.2, -0.44), (0.36, -0.52), (0.84, -0.26), (1, 0.06), (0.8, 0.32), (0.3, 0.5), (-0.2, 0.4)],
        color,
    )
    for x, height in ((-0.2, 0.3), (0.08, 0.4)):
        brush.blob([(x, -height), (x + 0.12, 0), (x, height), (x - 0.04, 0)], unlike(color, PAPER, ORANGE))
    brush.blob([(0.2, 0.1), (0.02, 0.02), (-0.06, 0.28), (0.16, 0.26)], fin)
    eye(brush, 0.6, -0.12, 0.17)
    brush.stroke([(0.74, 0.2), (0.84, 0.2), (0.94, 0.15)], INK if max(color) > 60 else PAPER, 0.07)


def butterfly(brush: Brush, color: Color, rng: random.Random) -> None:
    spread = rng.uniform(0.9, 1)
    body = unlike(color, INK, IRON)
    spot = unlike(color, PAPER, GOLD)
    for side in (-1, 1):
        lower = [(0.02, 0.1), (0.5, 0.12), (0.76, 0.4), (0.66, 0.8), (0.36, 0.86), (0.12, 0.5)]
        upper = [(0.02, 0.1), (0.16, -0.46), (0.6, -0.88), (0.96, -0.78), (0.96, -0.3), (0.66, 0.08)]
        inner = [(0.12, 0.0), (0.28, -0.4), (0.6, -0.64), (0.74, -0.5), (0.56, -0.12)]
        for points, tone in ((lower, shade(color)), (upper, color), (inner, tint(color))):
            brush.blob([(side * spread * x, y) for x, y in points], tone)
        for x, y, size in ((0.8, -0.6, 0.1), (0.82, -0.32, 0.08), (0.5, 0.56, 0.12)):
            brush.ellipse(side * spread * x, y, size, size, spot)
        brush.stroke([(side * 0.04, -0.4), (side * 0.12, -0.7), (side * 0.28, -0.84)], body, 0.08, 0.1)
    brush.ellipse(0, 0.12, 0.11, 0.5, body)
    brush.ellipse(0, -0.4, 0.14, 0.14, body)
