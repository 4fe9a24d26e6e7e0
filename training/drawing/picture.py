"""A picture is drawn at random by `sample`, and drawn as pixels by `draw`."""

from __future__ import annotations

import random

from PIL import Image

from training.drawing.canvas import Canvas
from training.drawing.scenes import draw_scene
from training.drawing.shapes import draw_shape
from training.drawing.styles import stylise
from training.drawing.vocabulary import (
    COLORS,
    PAINTED,
    POSITIONS,
    SCENES,
    SHAPES,
    SIZES,
    STYLES,
    TIMES,
    Picture,
    ScenePicture,
    ShapePicture,
)

STYLE_SHARES = (0.62, 0.14, 0.12, 0.12)
SHAPE_SHARE = 0.45
ALSO_AT_HOME = {
    "mountains": ("house", "trees", "snow", "birds", "clouds", "balloon"),
    "sea": ("boat", "boat", "boat", "birds", "clouds", "balloon"),
    "lake": ("boat", "boat", "house", "trees", "snow", "birds", "clouds", "balloon"),
    "desert": ("house", "birds", "clouds", "balloon"),
    "forest": ("house", "house", "snow", "birds", "clouds", "balloon"),
    "hills": ("house", "house", "trees", "trees", "snow", "birds", "clouds", "balloon"),
    "city": ("trees", "snow", "birds", "clouds", "balloon"),
}


def draw(picture: Picture, rng: random.Random, size: int) -> Image.Image:
    """The picture as an RGB image of `size` by `size` pixels. `rng` decides what the description leaves open."""
    canvas = Canvas(size)
    if isinstance(picture, ShapePicture):
        draw_shape(canvas, picture, rng)
    else:
        draw_scene(canvas, picture, rng)
    return stylise(canvas.finished(), picture.style, rng)


def sample(rng: random.Random) -> Picture:
    """A picture as the model meets them in training."""
    style = rng.choices(STYLES, STYLE_SHARES)[0]
    return sample_shape(style, rng) if rng.random() < SHAPE_SHARE else sample_scene(style, rng)


def sample_shape(style: str, rng: random.Random) -> ShapePicture:
    color, background = rng.sample(list(COLORS), 2)
    size = rng.choices(SIZES, (0.25, 0.5, 0.25))[0]
    position = rng.choice(POSITIONS) if size != "large" and rng.random() < 0.4 else "center"
    return ShapePicture(style, rng.choice(SHAPES), color, background, size, position)


def sample_scene(style: str, rng: random.Random) -> ScenePicture:
    scene, time = rng.choice(SCENES), rng.choice(TIMES)
    extras = set(sample_lights(time, rng))
    at_home = list(ALSO_AT_HOME[scene])
    if time == "day":
        at_home += ["rainbow", "rainbow"]
    extras.update(rng.choice(at_home) for _ in range(rng.choices((0, 1, 2), (0.25, 0.5, 0.25))[0]))
    colors = tuple(
        (extra, rng.choice(list(COLORS)))
        for extra in PAINTED
        if extra in extras and (extra == "balloon" or rng.random() < 0.6)
    )
    return ScenePicture(style, scene, time, frozenset(extras), colors)


def sample_lights(time: str, rng: random.Random) -> list[str]:
    if time == "night":
        return [light for light, share in (("moon", 0.6), ("stars", 0.5)) if rng.random() < share]
    return ["sun"] if rng.random() < (0.4 if time == "day" else 0.6) else []
