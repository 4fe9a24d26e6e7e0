"""Rain, snow, fog and storm: clouds in the sky, and what falls in front of everything."""

from __future__ import annotations

import random

from training.drawing.canvas import Canvas, darker, lighter, mix
from training.drawing.light import is_dark, lit, sky_colors
from training.drawing.view import View
from training.drawing.vocabulary import Scene


def draw_overcast(view: View) -> None:
    """Draws a bank of clouds for rain and storm."""
    if view.scene.weather not in ("rain", "storm"):
        return
    heavy = view.scene.weather == "storm"
    top = darker(view.sky[0], 0.3 if heavy else 0.05)
    bright = mix(view.sky[2], top, 0.35 if heavy else 0.25)
    for row, color in enumerate((bright, mix(bright, top, 0.5), top)):
        y = (0.2, 0.12, 0.03)[row] + (0.03 if heavy else -0.02)
        for i in range(6):
            x, size = (i + view.rng.uniform(0, 1)) / 6, view.rng.uniform(0.09, 0.13)
            view.canvas.ellipse(x, y, size * 1.25, size * 0.62, color)
        view.canvas.rectangle(0, 0, 1, y, color)


def draw_lightning(view: View) -> None:
    if view.scene.weather != "storm":
        return
    x, top, bottom = view.rng.uniform(0.15, 0.85), 0.17, max(view.skyline + 0.2, 0.54)
    lean = view.rng.choice((-1, 1)) * 0.05
    height = bottom - top
    view.canvas.glow(x, top + height * 0.5, 0.13, (206, 210, 255), 0.5)
    right = [(0.03, 0.0), (-0.005, 0.36), (0.04, 0.33), (-0.01, 0.68), (0.03, 0.65)]
    left = [(-0.055, 0.7), (-0.045, 0.7), (-0.015, 0.42), (-0.06, 0.45), (-0.03, 0.0)]
    bolt = [*right, (-0.035, 1.0), *left]
    view.canvas.polygon([(x + dx + lean * share, top + share * height) for dx, share in bolt], (255, 246, 168))


def draw_mist(view: View) -> None:
    """Draws what is behind the things: fog on the land, and morning haze."""
    strength = 0.55 if view.scene.weather == "fog" else 0.22 if view.scene.time == "sunrise" else 0
    if strength:
        middle = view.horizon + 0.05
        view.canvas.veil(lighter(view.haze, 0.22), middle - 0.26, middle, 0, strength)
        view.canvas.veil(lighter(view.haze, 0.22), middle, middle + 0.3, strength, 0.05)


def draw_weather(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    """Draws what is in front of the things."""
    match scene.weather:
        case "rain":
            draw_rain(canvas, scene, rng, 46)
        case "storm":
            draw_rain(canvas, scene, rng, 22)
        case "snow":
            draw_snowflakes(canvas, scene, rng)
        case "fog":
            draw_fog(canvas, scene, rng)


def draw_rain(canvas: Canvas, scene: Scene, rng: random.Random, count: int) -> None:
    color = mix(lit((226, 236, 248), scene.time), (200, 216, 240), 0.45)
    for i in range(count):
        # One drop in each column, so that they are spread evenly.
        x, y, length = (i + rng.random()) / count * 1.2 - 0.05, rng.uniform(-0.05, 1), rng.uniform(0.07, 0.12)
        canvas.line([(x, y), (x - length * 0.4, y + length)], color, 0.0125)


def draw_snowflakes(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    color = mix(lit((255, 255, 255), scene.time), (255, 255, 255), 0.75)
    for i in range(49):
        size = rng.uniform(0.011, 0.019)
        canvas.ellipse((i % 7 + rng.random()) / 7, (i // 7 + rng.random()) / 7, size, size, color)


def draw_fog(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    color = lighter(sky_colors(scene)[2], 0.05 if is_dark(scene) else 0.2)
    for y in (rng.uniform(0.35, 0.45), rng.uniform(0.62, 0.7)):
        canvas.veil(color, y - 0.1, y, 0, 0.3)
        canvas.veil(color, y, y + 0.14, 0.3, 0)
    canvas.veil(color, 0.72, 1, 0.05, 0.35)
