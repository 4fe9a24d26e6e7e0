"""Draws the description of a picture as pixels."""

from __future__ import annotations

import random

from PIL import Image

from training.drawing.canvas import Canvas, darker, jitter, lighter
from training.drawing.scenes import draw_scene, draw_weather
from training.drawing.styles.stylise import stylise
from training.drawing.things import draw_thing, stand
from training.drawing.vocabulary import COLORS, Backdrop, Picture, Scene

OFFSETS = {"center": (0, 0), "left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}
OFF_CENTER = 0.24
# The largest radius of a thing away from the centre, so that all of it is visible.
ROOM = 0.22
RADII = {"small": (0.12, 0.15), "medium": (0.21, 0.26), "large": (0.33, 0.38)}
PAIRED_RADII = {"small": (0.1, 0.12), "medium": (0.15, 0.18), "large": (0.2, 0.22)}
STANDING_AT = {"left": 0.24, "center": 0.5, "right": 0.76}


def draw(picture: Picture, rng: random.Random, size: int) -> Image.Image:
    """Returns an RGB image of `size` by `size` pixels. `rng` decides what the description leaves open."""
    canvas = Canvas(size)
    if isinstance(picture.place, Backdrop):
        draw_on_backdrop(canvas, picture, picture.place, rng)
    else:
        draw_in_scene(canvas, picture, picture.place, rng)
    return stylise(canvas.finished(), picture.style, rng)


def draw_on_backdrop(canvas: Canvas, picture: Picture, place: Backdrop, rng: random.Random) -> None:
    color = jitter(COLORS[place.color], rng)
    canvas.gradient(lighter(color, 0.06), darker(color, 0.08))
    radii = RADII if len(picture.things) == 1 else PAIRED_RADII
    for thing, where in zip(picture.things, sides(picture.layout), strict=True):
        right, down = OFFSETS[where]
        x = 0.5 + right * OFF_CENTER + rng.uniform(-0.03, 0.03)
        y = 0.5 + down * OFF_CENTER + rng.uniform(-0.03, 0.03)
        radius = rng.uniform(*radii[place.size])
        draw_thing(canvas, thing, (x, y), radius if where == "center" else min(radius, ROOM), rng)


def draw_in_scene(canvas: Canvas, picture: Picture, scene: Scene, rng: random.Random) -> None:
    ground = draw_scene(canvas, scene, rng)
    for thing, where in zip(picture.things, sides(picture.layout), strict=False):
        stand(canvas, thing, scene, ground, STANDING_AT[where] + rng.uniform(-0.04, 0.04), rng)
    draw_weather(canvas, scene, rng)


def sides(layout: str) -> tuple[str, ...]:
    """Returns the position of each thing of a picture."""
    return {"beside": ("left", "right"), "above": ("top", "bottom")}.get(layout, (layout,))
