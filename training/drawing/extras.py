"""Things that a scene can have in it."""

from __future__ import annotations

import random
from collections.abc import Callable

from training.drawing.canvas import Canvas, Point, darker, jitter, lighter, mix
from training.drawing.light import CLOUD, SUN, lit, painted, window
from training.drawing.vocabulary import COLORS, Color, ScenePicture

SKY_EXTRAS = ("stars", "sun", "moon", "rainbow", "clouds")
UNPAINTED: dict[str, Color] = {"house": (238, 222, 196), "boat": (250, 248, 240), "balloon": COLORS["red"]}


def draw_extra(canvas: Canvas, extra: str, picture: ScenePicture, place: Point, rng: random.Random) -> None:
    """`place` is where it stands; for what is in the sky, x and the horizon."""
    DRAWERS[extra](canvas, picture, place, rng)


def paint(extra: str, picture: ScenePicture, rng: random.Random) -> Color:
    name = picture.color_of(extra)
    return painted(jitter(COLORS[name] if name else UNPAINTED[extra], rng, 5), picture.time)


def draw_stars(canvas: Canvas, picture: ScenePicture, place: Point, rng: random.Random) -> None:
    for _ in range(rng.randint(26, 34)):
        size = rng.uniform(0.006, 0.011)
        canvas.ellipse(rng.random(), rng.random() * place[1] * 0.9, size, size, (255, 250, 226))


def draw_sun(canvas: Canvas, picture: ScenePicture, place: Point, rng: random.Random) -> None:
    color, radius = SUN[picture.time], rng.uniform(0.08, 0.1)
    y = rng.uniform(0.15, 0.24) if picture.time in ("day", "night") else place[1] - rng.uniform(0.12, 0.2)
    canvas.glow(place[0], y, radius * 1.9, lighter(color, 0.35), 0.6)
    canvas.ellipse(place[0], y, radius, radius, color)


def draw_moon(canvas: Canvas, picture: ScenePicture, place: Point, rng: random.Random) -> None:
    radius, y = rng.uniform(0.075, 0.095), rng.uniform(0.15, 0.26)
    canvas.glow(place[0], y, radius * 1.8, (202, 207, 236), 0.35)
    canvas.ellipse(place[0], y, radius, radius, (250, 246, 218))
    for dx, dy, size in ((-0.3, -0.2, 0.22), (0.3, 0.25, 0.18), (0.1, -0.45, 0.13)):
        canvas.ellipse(place[0] + dx * radius, y + dy * radius, size * radius, size * radius, (224, 218, 192))


def draw_rainbow(canvas: Canvas, picture: ScenePicture, place: Point, rng: random.Random) -> None:
    x, radius, width = rng.uniform(0.42, 0.58), rng.uniform(0.4, 0.45), 0.02
    for i, name in enumerate(["red", "orange", "yellow", "green", "blue", "purple"]):
        canvas.arc(x, place[1] + 0.05, radius - i * width, lighter(COLORS[name], 0.12), width * 1.2)


def draw_clouds(canvas: Canvas, picture: ScenePicture, place: Point, rng: random.Random) -> None:
    for i in range(3):
        x, y, size = (i + rng.uniform(0.25, 0.75)) / 3, rng.uniform(0.1, 0.32), rng.uniform(0.045, 0.062)
        for dx, dy, puff in (
            (-1.3, 0.25, 0.75),
            (-0.5, -0.15, 1.0),
            (0.5, -0.3, 1.1),
            (1.35, 0.25, 0.75),
            (0, 0.3, 0.9),
        ):
            canvas.ellipse(x + dx * size, y + dy * size, puff * size, puff * size * 0.72, CLOUD[picture.time])


def draw_trees(canvas: Canvas, picture: ScenePicture, place: Point, rng: random.Random) -> None:
    leaves = (60, 138, 60) if "snow" not in picture.extras else (160, 190, 165)
    for x in (place[0] - rng.uniform(0.28, 0.36), place[0] + rng.uniform(0.2, 0.3), place[0] - rng.uniform(0.1, 0.18)):
        height, y = rng.uniform(0.18, 0.24), place[1] + 0.02
        color = lit(jitter(leaves, rng, 6), picture.time)
        canvas.rectangle(x - height * 0.06, y - height * 0.5, x + height * 0.06, y, lit((96, 66, 42), picture.time))
        for dx, dy, size in ((-0.18, -0.52, 0.22), (0.18, -0.52, 0.22), (0, -0.72, 0.27)):
            canvas.ellipse(x + dx * height, y + dy * height, size * height, size * height, color)


def draw_house(canvas: Canvas, picture: ScenePicture, place: Point, rng: random.Random) -> None:
    x, y, half = place[0], place[1] + 0.025, rng.uniform(0.095, 0.115)
    roof = (82, 72, 78) if picture.color_of("house") in ("red", "orange", "brown", "pink") else (152, 60, 46)
    roof = (240, 244, 250) if "snow" in picture.extras else roof
    canvas.rectangle(x - half, y - half * 1.05, x + half, y, paint("house", picture, rng))
    canvas.polygon(
        [(x - half * 1.25, y - half), (x + half * 1.25, y - half), (x, y - half * 2)], painted(roof, picture.time)
    )
    canvas.rectangle(x - half * 0.18, y - half * 0.58, x + half * 0.18, y, painted((88, 58, 40), picture.time))
    for side in (-0.6, 0.6):
        left = x + (side - 0.2) * half
        canvas.rectangle(left, y - half * 0.78, left + half * 0.4, y - half * 0.4, window(picture.time))


def draw_boat(canvas: Canvas, picture: ScenePicture, place: Point, rng: random.Random) -> None:
    x, y, half = place[0], rng.uniform(0.76, 0.82), rng.uniform(0.11, 0.13)
    sail = paint("boat", picture, rng)
    hull = [(x - half, y), (x + half, y), (x + half * 0.65, y + half * 0.42), (x - half * 0.65, y + half * 0.42)]
    canvas.polygon(hull, painted((122, 72, 42), picture.time))
    canvas.polygon(
        [(x - half * 0.03, y - half * 0.08), (x - half * 0.03, y - half * 2), (x + half * 0.9, y - half * 0.08)], sail
    )
    canvas.polygon(
        [(x - half * 0.14, y - half * 0.08), (x - half * 0.14, y - half * 1.6), (x - half * 0.78, y - half * 0.08)],
        darker(sail, 0.12),
    )


def draw_balloon(canvas: Canvas, picture: ScenePicture, place: Point, rng: random.Random) -> None:
    x, y, radius = place[0], rng.uniform(0.22, 0.32), rng.uniform(0.1, 0.12)
    color = paint("balloon", picture, rng)
    stripe = mix(color, (255, 255, 255), 0.45) if picture.color_of("balloon") != "white" else (200, 204, 210)
    for width, shade in ((1.0, color), (0.4, stripe)):
        canvas.ellipse(x, y, radius * width, radius, shade)
        skirt = [(x - radius * 0.88 * width, y + radius * 0.48), (x + radius * 0.88 * width, y + radius * 0.48)]
        canvas.polygon(
            [*skirt, (x + radius * 0.26 * width, y + radius * 1.35), (x - radius * 0.26 * width, y + radius * 1.35)],
            shade,
        )
    canvas.rectangle(
        x - radius * 0.24, y + radius * 1.5, x + radius * 0.24, y + radius * 1.85, painted((122, 76, 42), picture.time)
    )


def draw_birds(canvas: Canvas, picture: ScenePicture, place: Point, rng: random.Random) -> None:
    color = (26, 26, 36) if picture.time != "night" else (192, 197, 217)
    for _ in range(5):
        x, y, span = rng.uniform(0.12, 0.88), rng.uniform(0.1, 0.42), rng.uniform(0.03, 0.042)
        canvas.line([(x - span, y - span * 0.6), (x, y), (x + span, y - span * 0.6)], color, 0.016)


def draw_snowflakes(canvas: Canvas, rng: random.Random) -> None:
    for _ in range(40):
        size = rng.uniform(0.007, 0.012)
        canvas.ellipse(rng.random(), rng.random(), size, size, (252, 252, 255))


DRAWERS: dict[str, Callable[[Canvas, ScenePicture, Point, random.Random], None]] = {
    "stars": draw_stars, "sun": draw_sun, "moon": draw_moon, "rainbow": draw_rainbow, "clouds": draw_clouds,
    "trees": draw_trees, "house": draw_house, "boat": draw_boat, "balloon": draw_balloon, "birds": draw_birds,
}  # fmt: skip
