"""Landscapes without a city and with little water. Each function draws one and returns where things may be put."""

from __future__ import annotations

import math

from training.drawing.canvas import Point, darker, lighter, mix
from training.drawing.lines import along, height_at, lowered, ridge, wave
from training.drawing.plants import LEAVES, PINE, draw_leafy, draw_pine
from training.drawing.view import GRASS, SNOW, Ground, View
from training.drawing.vocabulary import Color

ROCK: Color = (98, 106, 138)


def draw_mountains(view: View) -> Ground:
    draw_range(view, view.horizon, 0.3, 4, 0.75)
    draw_range(view, view.horizon + 0.1, 0.36, view.rng.randint(2, 3), 0.15)
    grass = GRASS[view.scene.season]
    view.layer(wave(view.rng, view.horizon + 0.12, 0.018), mix(grass, (60, 110, 90), 0 if view.winter else 0.35), 0.25)
    edge = wave(view.rng, 0.82, 0.022)
    view.layer(edge, grass, 0)
    view.patches(edge, grass)
    return view.ground(lowered(edge, 0.07))


def draw_range(view: View, base: float, height: float, count: int, distance: float) -> None:
    """Mountains with a bright side, a dark side, and snow on their tops."""
    edge = ridge(view.rng, base, height, count)
    view.layer(edge, view.snowed(ROCK, 0.35), distance, base + 0.12)
    for i in range(1, len(edge) - 1, 2):
        left, peak, right = edge[i - 1 : i + 2]
        bright, dark = (left, right) if view.side(peak[0]) < 0 else (right, left)
        fold = (peak[0] + (dark[0] - peak[0]) * 0.25, base + 0.12)
        middle = (peak[0] - (dark[0] - peak[0]) * 0.12, peak[1] + height * 0.5)
        view.canvas.wash([peak, dark, (dark[0], base + 0.12), fold, middle], view.tone((44, 48, 84), distance), 0.45)
        draw_cap(view, peak, bright, dark, 0.62 if view.winter else 0.42, distance)


def draw_cap(view: View, peak: Point, bright: Point, dark: Point, size: float, distance: float) -> None:
    snow = view.tone(SNOW, distance * 0.6)
    first, last = along(peak, bright, size), along(peak, dark, size)
    middle = (peak[0] + (dark[0] - peak[0]) * 0.05, peak[1] + (max(first[1], last[1]) - peak[1]) * 1.05)
    notch = along(first, middle, 0.55)
    other = along(last, middle, 0.5)
    view.canvas.polygon([peak, first, (notch[0], notch[1] - 0.035), middle], snow)
    shade = mix(snow, view.tone((120, 140, 196), distance), 0.5)
    view.canvas.polygon([peak, last, (other[0], other[1] - 0.03), middle], shade)


def draw_hills(view: View) -> Ground:
    grass = GRASS[view.scene.season]
    far, near = (
        ((176, 198, 234), SNOW) if view.winter else (mix(grass, (120, 170, 150), 0.4), mix(grass, (44, 120, 56), 0.3))
    )
    x, edge = 0.5, list[Point]()
    for i in range(4):
        edge = wave(view.rng, view.horizon + (0.0, 0.07, 0.16, 0.25)[i], (0.035, 0.035, 0.035, 0.02)[i])
        view.layer(edge, mix(far, near, i / 3), (0.7, 0.4, 0.16, 0)[i])
        if i == 2:
            x = draw_path(view, edge, view.rng.uniform(0.3, 0.7), 0.95, 0.012)
    view.patches(edge, near)
    draw_path(view, edge, x, 1.05, 0.05)
    return view.ground(lowered(edge, 0.05))


def draw_path(view: View, edge: list[Point], x: float, bottom: float, width: float) -> float:
    """Draws a path that winds down a hill, and returns its x at the bottom of the hill."""
    top, bend = height_at(edge, x), view.rng.choice((-1, 1)) * view.rng.uniform(0.05, 0.08)
    steps = [i / 10 for i in range(11)]
    middle = [(x + bend * math.sin(4 * t) * (0.4 + t), top + (bottom - top) * t) for t in steps]
    left = [(px - width * (0.15 + 0.85 * t), py) for (px, py), t in zip(middle, steps, strict=True)]
    right = [(px + width * (0.15 + 0.85 * t), py) for (px, py), t in zip(middle, steps, strict=True)]
    view.canvas.polygon([*left, *reversed(right)], view.tone(view.snowed((232, 208, 150), 0.6), 0.05))
    return middle[4][0]


def draw_desert(view: View) -> Ground:
    for x in (view.rng.uniform(0.0, 0.3), view.rng.uniform(0.6, 0.95)):
        draw_mesa(view, x, view.rng.uniform(0.1, 0.16), view.rng.uniform(0.07, 0.1))
    edge: list[Point] = []
    for i, sand in enumerate([(240, 186, 112), (234, 164, 86), (222, 144, 66)]):
        edge = wave(view.rng, view.horizon + 0.03 + 0.13 * i, (0.034, 0.036, 0.024)[i])
        color = view.snowed(sand, 0.8)
        view.layer(edge, color, (0.4, 0.15, 0)[i])
        draw_dune_shadow(view, edge, darker(view.tone(color, (0.4, 0.15, 0)[i]), 0.4))
    for x in (view.rng.uniform(0.08, 0.2), view.rng.uniform(0.8, 0.92)):
        draw_cactus(view, (x, height_at(edge, x) + 0.02), view.rng.uniform(0.2, 0.27))
    return view.ground(lowered(edge, 0.05))


def draw_mesa(view: View, x: float, half: float, height: float) -> None:
    """A flat rock, far away."""
    base, top = view.horizon + 0.06, view.horizon - height
    rock = view.tone(view.snowed((190, 92, 62), 0.3), 0.45)
    outline = [(x - half, base), (x - half * 0.7, top), (x + half * 0.7, top), (x + half, base)]
    view.canvas.shaded(outline, lighter(rock, 0.08), mix(rock, view.haze, 0.3))
    side = -view.side(x)
    view.canvas.wash([(x + side * half * 0.3, top), outline[1 if side < 0 else 2], outline[0 if side < 0 else 3],
                      (x + side * half * 0.4, base)], darker(rock, 0.5), 0.4)  # fmt: skip


def draw_dune_shadow(view: View, edge: list[Point], color: Color) -> None:
    """Shades the side of a dune's crest that faces away from the light."""
    side = -view.side(0.5)
    for i in range(1, len(edge) - 1):
        if edge[i][1] < min(edge[i - 1][1], edge[i + 1][1]):
            end = min(max(0, i + side * 10), len(edge) - 1)
            slope = edge[i : end + 1] if side > 0 else edge[end : i + 1][::-1]
            (x, y), steps = edge[i], [t / 10 for t in range(10, -1, -1)]
            crest = [(x + side * (0.13 * t - 0.03 * math.sin(math.tau * t)), y + 0.2 * t) for t in steps]
            view.canvas.wash([*slope, (slope[-1][0] + side * 0.08, y + 0.2), *crest], color, 0.42)


def draw_cactus(view: View, foot: Point, height: float) -> None:
    (x, y), width = foot, height * 0.2
    green = view.tone(view.snowed((58, 128, 70), 0.25))
    bright = lighter(green, 0.22)
    side = view.side(x)
    arms = [
        [(x, y), (x, y - height)],
        [(x, y - height * 0.4), (x - height * 0.3, y - height * 0.4), (x - height * 0.3, y - height * 0.68)],
        [(x, y - height * 0.52), (x + height * 0.28, y - height * 0.52), (x + height * 0.28, y - height * 0.82)],
    ]
    for arm, share in zip(arms, (1, 0.75, 0.75), strict=True):
        view.canvas.line(arm, green, width * share)
        for end in arm[1:]:
            view.canvas.ellipse(*end, width * share / 2, width * share / 2, green)
    view.canvas.line([(x + side * width * 0.2, y), (x + side * width * 0.2, y - height)], bright, width * 0.3)
    if view.scene.season == "spring":
        view.canvas.ellipse(x, y - height - width * 0.4, width * 0.45, width * 0.4, view.tone((248, 96, 160)))


def draw_forest(view: View) -> Ground:
    grass, season = GRASS[view.scene.season], view.scene.season
    for i in range(3):
        foot, distance = view.horizon + 0.09 + 0.09 * i, (0.7, 0.38, 0.08)[i]
        view.layer([(0, foot), (1, foot)], mix(grass, PINE, 0 if view.winter else 0.5), distance)
        x = view.rng.uniform(-0.03, 0.03)
        while x < 1.05:
            height = (0.27 + 0.06 * i) * view.rng.uniform(0.75, 1.2)
            if season in ("spring", "autumn") and view.rng.random() < 0.65:
                draw_leafy(view, (x, foot + 0.015), height, view.rng.choice(LEAVES[season]), distance)
            else:
                draw_pine(view, (x, foot + 0.015), height, mix(PINE, grass, 0.1 * (season == "spring")), distance)
            x += (0.095 + 0.03 * i) * view.rng.uniform(0.85, 1.2)
    edge = wave(view.rng, 0.85, 0.01)
    view.layer(edge, mix(grass, (60, 110, 50), 0 if view.winter else 0.35), 0)
    return view.ground(lowered(edge, 0.06))
