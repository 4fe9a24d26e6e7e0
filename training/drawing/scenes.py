"""Draws a landscape: sky, land and plants. Returns where things may be put."""

from __future__ import annotations

import random
from collections.abc import Callable

from training.drawing.canvas import Canvas, jitter
from training.drawing.city import draw_city
from training.drawing.extras import draw_sky_extras
from training.drawing.lands import draw_desert, draw_forest, draw_hills, draw_mountains
from training.drawing.plants import draw_branch, draw_flowers, draw_trees
from training.drawing.view import Ground, View
from training.drawing.vocabulary import Scene
from training.drawing.waters import draw_beach, draw_lake, draw_sea
from training.drawing.weather import draw_lightning, draw_mist, draw_overcast, draw_weather

__all__ = ["Ground", "draw_scene", "draw_weather"]

LANDS: dict[str, Callable[[View], Ground]] = {
    "mountains": draw_mountains, "sea": draw_sea, "lake": draw_lake, "beach": draw_beach, "desert": draw_desert,
    "forest": draw_forest, "hills": draw_hills, "city": draw_city,
}  # fmt: skip


def draw_scene(canvas: Canvas, scene: Scene, rng: random.Random) -> Ground:
    """Draws everything behind the things of a scene. `draw_weather` draws what is in front of them."""
    view = View(canvas, scene, rng)
    draw_sky(view)
    draw_sky_extras(view)
    draw_overcast(view)
    ground = LANDS[scene.scene](view)
    draw_mist(view)
    draw_lightning(view)
    if view.has("trees"):
        draw_trees(view, ground)
    if view.has("flowers"):
        draw_flowers(view, ground)
    draw_branch(view)
    return ground


def draw_sky(view: View) -> None:
    top, middle, bottom = (jitter(color, view.rng) for color in view.sky)
    half = view.horizon * 0.55
    view.canvas.gradient(top, middle, 0, half)
    view.canvas.gradient(middle, bottom, half, view.horizon + 0.12)
