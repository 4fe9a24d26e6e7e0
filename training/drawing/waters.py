"""Sea, lake and beach. Each function draws one and returns where things may be put."""

from __future__ import annotations

import math

from training.drawing.canvas import Point, lighter, mix
from training.drawing.lands import draw_range
from training.drawing.light import MOON, SUN
from training.drawing.lines import height_at, lowered, wave
from training.drawing.view import GRASS, SNOW, Ground, View
from training.drawing.vocabulary import Color

FAR_WATER: Color = (96, 178, 214)
NEAR_WATER: Color = (18, 88, 156)
ICY_WATER: Color = (150, 196, 220)
SAND: Color = (244, 222, 168)
# The share of the sky's colour in water.
MIRRORED = {"sunrise": 0.62, "sunset": 0.85}


def draw_sea(view: View) -> Ground:
    draw_water(view, view.horizon, 1)
    draw_waves(view)
    draw_shine(view, view.horizon, 1)
    if view.winter:
        draw_floes(view, view.horizon + 0.06, 0.96)
    if view.has("trees") or view.has("flowers"):
        return draw_islet(view)
    return view.ground([], (view.horizon, 1))


def draw_islet(view: View) -> Ground:
    x, y = view.rng.uniform(0.35, 0.65), 0.84
    edge = [(x + 0.42 * (i / 8 - 1), y - 0.07 * (1 - (i / 8 - 1) ** 2)) for i in range(17)]
    sand = view.tone(view.snowed(SAND, 0.7))
    view.canvas.ellipse(x, y + 0.012, 0.45, 0.03, mix(view.tone(FAR_WATER), (255, 255, 255), 0.5))
    view.canvas.shaded([*edge, (x, y + 0.03)], lighter(sand, 0.1), sand)
    return view.ground(lowered(edge, 0.03), (view.horizon, 1))


def draw_water(view: View, shore: float, bottom: float) -> None:
    view.canvas.gradient(*water_colors(view), shore, bottom)


def water_colors(view: View) -> tuple[Color, Color]:
    """Returns the colours of water far away and nearby, which is darker, mixed with the sky's."""
    far, near = (view.tone(mix(color, ICY_WATER, 0.45 * view.winter)) for color in (FAR_WATER, NEAR_WATER))
    mirrored = MIRRORED.get(view.scene.time, 0.4)
    return mix(far, view.haze, mirrored), mix(near, view.sky[0], 0.7 * mirrored)


def draw_shine(view: View, shore: float, bottom: float) -> None:
    """The path of light below the sun or moon."""
    if not view.has("sun") and not view.has("moon"):
        return
    color = lighter(SUN[view.scene.time], 0.15) if view.has("sun") else MOON
    y = shore + 0.012
    while y < bottom:
        width = (0.035 + 0.12 * (y - shore)) * view.rng.uniform(0.7, 1.25)
        x = view.light_x + view.rng.uniform(-0.2, 0.2) * width
        draw_dash(view, x, y, width, 0.007 + 0.02 * (y - shore), color)
        y += 0.024 + 0.05 * (y - shore)


def draw_dash(view: View, x: float, y: float, half: float, thickness: float, color: Color) -> None:
    """Pointed at both ends."""
    view.canvas.polygon([(x - half, y), (x, y - thickness), (x + half, y), (x, y + thickness)], color)


def draw_ripples(view: View, shore: float, bottom: float, color: Color) -> None:
    for _ in range(11):
        y = shore + 0.02 + (bottom - shore - 0.02) * view.rng.random()
        draw_dash(view, view.rng.random(), y, view.rng.uniform(0.05, 0.09), 0.006, color)


def draw_waves(view: View) -> None:
    """Rows of waves with foam on their crests, larger in front."""
    far, near = water_colors(view)
    foam = mix(view.tone((255, 255, 255)), (236, 240, 255), 0.3)
    rough = 1.6 if view.scene.weather == "storm" else 1.0
    for row in range(5):
        top, size = view.horizon + (0.04, 0.1, 0.18, 0.27, 0.37)[row], 0.1 + 0.045 * row
        edge = crests(view.rng.random() * size, top, size, rough)
        color = mix(far, near, 0.2 + 0.2 * row)
        view.canvas.ground(lowered(edge, -0.006 - 0.002 * row), mix(foam, color, 0.45 - 0.08 * row))
        view.canvas.shaded([(0, 1), *edge, (1, 1)], lighter(color, 0.12), color)


def crests(start: float, base: float, size: float, rough: float) -> list[Point]:
    """A line of round hollows with points between them."""
    xs = [i / 48 for i in range(49)]
    return [(x, base - 0.22 * size * rough * (1 - abs(math.sin(math.pi * (x - start) / size))) ** 1.3) for x in xs]


def draw_floes(view: View, top: float, bottom: float) -> None:
    """Draws floating ice."""
    ice, side = view.tone(SNOW), view.tone((120, 176, 214))
    for i in range(7):
        y = top + (bottom - top) * (i / 6) ** 1.3
        half = (0.06 + 0.012 * i) * view.rng.uniform(0.8, 1.2)
        x = ((i * 0.38) % 1) + view.rng.uniform(-0.1, 0.1)
        flat = [(-1.0, 0.02), (-0.55, -0.24), (0.2, -0.2), (0.8, -0.28), (1.0, 0.04), (0.4, 0.26), (-0.45, 0.22)]
        for color, drop in ((side, 0.018), (ice, 0.0)):
            view.canvas.polygon([(x + dx * half, y + dy * half + drop) for dx, dy in flat], color)


def draw_lake(view: View) -> Ground:
    shore = view.horizon + 0.03
    draw_range(view, view.horizon, 0.21, 3, 0.4)
    grass = GRASS[view.scene.season]
    view.layer(wave(view.rng, shore - 0.035, 0.012), mix(grass, (40, 110, 80), 0 if view.winter else 0.45), 0.3)
    draw_water(view, shore, 1)
    view.canvas.reflect(shore, 0.95, 0.4)
    draw_ripples(view, shore, 0.88, mix(view.tone(SNOW if view.winter else FAR_WATER), view.sky[2], 0.5))
    draw_shine(view, shore, 0.9)
    edge = bay(view)
    bank = view.tone(mix(grass, (84, 92, 60), 0.5))
    view.canvas.ground(lowered(edge, -0.018), bank)
    view.layer(edge, grass, 0)
    view.patches(edge, grass)
    return view.ground(lowered(edge, 0.05), (shore, 0.87))


def bay(view: View) -> list[Point]:
    """A shore that is high at both sides."""
    tilt = view.rng.uniform(-0.02, 0.02)
    return [(x, y - 0.2 * (x - 0.5) ** 2 + tilt * (x - 0.5)) for x, y in wave(view.rng, 0.895, 0.006)]


def draw_beach(view: View) -> Ground:
    slope, shore = view.rng.choice((-1, 1)) * view.rng.uniform(0.06, 0.12), view.rng.uniform(0.73, 0.77)
    edge = [(x, y + slope * (x - 0.5)) for x, y in wave(view.rng, shore, 0.016)]
    draw_water(view, view.horizon, shore + 0.1)
    draw_shine(view, view.horizon, shore)
    pale = mix(view.tone((110, 214, 214)), view.haze, 0.15)
    draw_ripples(view, view.horizon + 0.02, shore - 0.06, mix(pale, (255, 255, 255), 0.2))
    foam, sand = view.tone((255, 255, 255)), view.snowed(SAND, 0.92)
    view.canvas.shaded([(0, 1), *lowered(edge, -0.055), (1, 1)], pale, pale)
    view.canvas.ground(lowered(edge, -0.02), foam)
    view.canvas.ground(edge, view.tone(mix(sand, (150, 120, 80), 0.4)))
    view.layer(lowered(edge, 0.03), sand, 0)
    view.patches(lowered(edge, 0.05), sand)
    draw_shells(view, edge)
    return view.ground(lowered(edge, 0.1), (view.horizon, shore - 0.05))


def draw_shells(view: View, edge: list[Point]) -> None:
    for i, color in enumerate([(240, 120, 84), (252, 244, 232), (236, 150, 150), (252, 244, 232)]):
        x = (i + view.rng.uniform(0.2, 0.8)) / 4
        y = view.rng.uniform(height_at(edge, x) + 0.09, 0.97)
        view.canvas.ellipse(x, y + 0.006, 0.02, 0.013, view.tone((170, 138, 96)))
        view.canvas.ellipse(x, y, 0.018, 0.013, view.tone(color))
