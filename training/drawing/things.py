"""Draws one thing, a shape or a figure, with its shadow."""

from __future__ import annotations

import random

from training.drawing.brush import Brush
from training.drawing.canvas import SUPERSAMPLING, Canvas, Point, darker, jitter, lighter
from training.drawing.curves import oval
from training.drawing.figures import FIGURE_DRAWERS
from training.drawing.light import is_dark, thing_light
from training.drawing.scenes import Ground
from training.drawing.shapes import shape_mask
from training.drawing.vocabulary import COLORS, SHAPES, Color, Scene, Thing

WHITE: Color = (255, 255, 255)
BLACK: Color = (0, 0, 0)
FLYING = ("balloon", "airplane", "butterfly")
SWIMMING = ("boat", "duck")
USUAL_RADII = (0.14, 0.17)
RADII = {"house": (0.16, 0.19), "bus": (0.17, 0.2), "boat": (0.16, 0.19), "balloon": (0.15, 0.18), "duck": (0.11, 0.13)}
CONTACT = 0.25
SHADOW_OFFSET, SHADOW_SOFTNESS, SHADOW_STRENGTH = (0.012, 0.02), 0.02, 0.28


def draw_thing(canvas: Canvas, thing: Thing, center: Point, radius: float, rng: random.Random) -> None:
    """Draws a thing on a backdrop, with a soft shadow."""
    color = jitter(COLORS[thing.color], rng)
    if thing.kind in SHAPES:
        mask = shape_mask(canvas, thing.kind, center, radius, rng.uniform(-5, 5))
        canvas.shade(mask, SHADOW_OFFSET, SHADOW_SOFTNESS, SHADOW_STRENGTH)
        face = Canvas(canvas.pixels // SUPERSAMPLING)
        face.gradient(lighter(color, 0.1), darker(color, 0.1))
        canvas.paste(face, mask)
        return
    mirrored, seed = rng.random() < 0.5, rng.getrandbits(32)
    outline = Canvas(canvas.pixels // SUPERSAMPLING)
    silhouette = Brush(outline, center, radius, lambda _: WHITE, mirrored=mirrored)
    FIGURE_DRAWERS[thing.kind](silhouette, WHITE, random.Random(seed))
    canvas.shade(outline.image.convert("L"), SHADOW_OFFSET, SHADOW_SOFTNESS, SHADOW_STRENGTH)
    FIGURE_DRAWERS[thing.kind](Brush(canvas, center, radius, mirrored=mirrored), color, random.Random(seed))


def stand(canvas: Canvas, thing: Thing, scene: Scene, ground: Ground, x: float, rng: random.Random) -> None:
    """Draws a thing in a landscape: on land, on water or in the sky, as its kind requires."""
    radius = rng.uniform(*RADII.get(thing.kind, USUAL_RADII))
    color = jitter(COLORS[thing.color], rng, 5)
    y = height(thing.kind, ground, x, radius, rng)
    if thing.kind not in FLYING:
        canvas.wash(oval(x, y + 0.96 * radius, radius * 0.85, radius * 0.12), BLACK, CONTACT)
    brush = Brush(canvas, (x, y), radius, thing_light(scene), is_dark(scene), mirrored=rng.random() < 0.5)
    FIGURE_DRAWERS[thing.kind](brush, color, rng)


def height(kind: str, ground: Ground, x: float, radius: float, rng: random.Random) -> float:
    """Returns the y of a thing's centre."""
    if kind in FLYING:
        top, bottom = ground.sky
        return rng.uniform(top + radius, max(top + radius, min(0.34, bottom - radius)))
    if kind in SWIMMING and ground.water:
        top, bottom = ground.water
        return 0.3 * top + 0.7 * bottom - 0.8 * radius
    land = ground.land(x)
    return (0.9 if land is None else land) - 0.97 * radius
