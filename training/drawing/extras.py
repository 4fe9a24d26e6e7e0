"""The extras in a scene's sky: sun, moon, stars, clouds, rainbow and birds."""

from __future__ import annotations

import math
from collections.abc import Callable

from training.drawing.canvas import Canvas, darker, lighter, mix
from training.drawing.light import CLOUD, MOON, SUN
from training.drawing.view import View
from training.drawing.vocabulary import COLORS, Color

PUFFS = ((-1.35, 0.2, 0.7), (-0.55, -0.15, 0.95), (0.4, -0.35, 1.1), (1.3, 0.15, 0.75), (0.0, 0.2, 0.9))
RAINBOW = ("red", "orange", "yellow", "green", "blue", "purple")


def draw_sky_extras(view: View) -> None:
    for extra, draw in DRAWERS.items():
        if view.has(extra):
            draw(view)


def draw_stars(view: View) -> None:
    canvas, rng = view.canvas, view.rng
    lowest = view.skyline - 0.02
    for i in range(24):
        # One star in each cell of a grid, so that they are spread evenly.
        x, y = (i % 6 + rng.uniform(0.1, 0.9)) / 6, (i // 6 + rng.uniform(0.1, 0.9)) / 4 * lowest
        size = rng.uniform(0.008, 0.011)
        if i % 4 == 1:
            draw_sparkle(canvas, x, y, rng.uniform(0.028, 0.036))
        else:
            canvas.ellipse(x, y, size, size, (255, 250, 226))


def draw_sparkle(canvas: Canvas, x: float, y: float, radius: float) -> None:
    canvas.polygon(
        [
            (x + length * math.cos(math.radians(45 * i)), y + length * math.sin(math.radians(45 * i)))
            for i in range(8)
            for length in [radius if i % 2 == 0 else radius * 0.36]
        ],
        (255, 252, 232),
    )


def low_light(view: View, low: float) -> float:
    """Returns the y of the sun or moon: `low` above the horizon, and never behind the land."""
    return max(0.13, min(view.horizon - low, view.skyline - 0.07))


def draw_sun(view: View) -> None:
    canvas, rng, time = view.canvas, view.rng, view.scene.time
    radius = rng.uniform(0.085, 0.105)
    y = low_light(view, rng.uniform(0.1, 0.16)) if time in ("sunrise", "sunset") else rng.uniform(0.15, 0.22)
    color = mix(SUN[time], view.haze, 0 if view.scene.weather == "clear" else 0.3)
    canvas.glow(view.light_x, y, radius * 1.9, lighter(color, 0.3), 0.65)
    canvas.ellipse(view.light_x, y, radius * 1.12, radius * 1.12, lighter(color, 0.45))
    canvas.ellipse(view.light_x, y, radius, radius, color)


def draw_moon(view: View) -> None:
    canvas, rng = view.canvas, view.rng
    x = 1 - view.light_x if view.has("sun") else view.light_x
    radius, y = rng.uniform(0.085, 0.105), min(rng.uniform(0.15, 0.24), max(0.14, view.skyline - 0.1))
    canvas.glow(x, y, radius * 1.8, (190, 200, 240), 0.4)
    canvas.ellipse(x, y, radius, radius, MOON)
    for dx, dy, size in ((-0.3, -0.2, 0.26), (0.32, 0.28, 0.22), (0.12, -0.5, 0.16), (-0.25, 0.45, 0.15)):
        canvas.ellipse(x + dx * radius, y + dy * radius, size * radius, size * radius, (218, 212, 188))


def draw_rainbow(view: View) -> None:
    x, radius, width = view.rng.uniform(0.4, 0.6), view.rng.uniform(0.45, 0.5), 0.024
    for i, name in enumerate(RAINBOW):
        color = mix(lighter(COLORS[name], 0.1), view.sky[1], 0.12)
        view.canvas.arc(x, view.horizon + 0.04, radius - i * width, color, width * 1.15)


def draw_clouds(view: View) -> None:
    top, under = CLOUD[view.scene.time]
    if view.scene.weather != "clear":
        top, under = mix(top, view.sky[2], 0.7), mix(under, darker(view.sky[0], 0.2), 0.7)
    for i in range(3):
        x, y = (i + view.rng.uniform(0.25, 0.75)) / 3, view.rng.uniform(0.1, max(0.14, view.skyline - 0.14))
        draw_cloud(view.canvas, x, y, view.rng.uniform(0.058, 0.074), top, under)


def draw_cloud(canvas: Canvas, x: float, y: float, size: float, top: Color, under: Color) -> None:
    """Bright puffs on shaded ones."""
    for color, drop, scale in ((under, 0.2, 1.0), (top, -0.06, 0.92)):
        for dx, dy, puff in PUFFS:
            radius = puff * size * scale
            canvas.ellipse(x + dx * size, y + (dy * 0.8 + drop) * size, radius, radius * 0.7, color)


def draw_birds(view: View) -> None:
    dark = view.scene.time == "night" or view.scene.weather == "storm"
    color = (226, 230, 244) if dark else (30, 28, 44)
    x0, y0 = view.rng.uniform(0.3, 0.7), view.rng.uniform(0.16, max(0.18, min(0.26, view.skyline - 0.08)))
    for dx, dy in ((-0.26, 0.05), (-0.1, -0.06), (0.06, 0.06), (0.2, -0.04)):
        x, y = x0 + dx + view.rng.uniform(-0.02, 0.02), y0 + dy + view.rng.uniform(-0.02, 0.02)
        draw_bird(view.canvas, x, y, view.rng.uniform(0.052, 0.066), color)


def draw_bird(canvas: Canvas, x: float, y: float, span: float, color: Color) -> None:
    """Two bent wings, thick where they meet."""
    half = [(0.0, 0.02), (0.16, -0.22), (0.36, -0.4), (0.6, -0.42), (0.84, -0.28), (1.06, 0.0), (0.8, -0.1),
            (0.58, -0.16), (0.4, -0.1), (0.22, 0.08), (0.12, 0.28), (0.0, 0.34)]  # fmt: skip
    wings = [*half, *((-dx, dy) for dx, dy in reversed(half))]
    canvas.polygon([(x + dx * span, y + dy * span) for dx, dy in wings], color)


DRAWERS: dict[str, Callable[[View], None]] = {
    "stars": draw_stars, "sun": draw_sun, "moon": draw_moon, "rainbow": draw_rainbow, "clouds": draw_clouds,
    "birds": draw_birds,
}  # fmt: skip
