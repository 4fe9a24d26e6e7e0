"""A landscape: sky, land, and the line on which things can stand."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from itertools import pairwise

from training.drawing.canvas import Canvas, Point, jitter, mix
from training.drawing.extras import SKY_EXTRAS, draw_extra, draw_snowflakes
from training.drawing.light import SKY, SUN, lit, window
from training.drawing.vocabulary import Color, ScenePicture

SNOW: Color = (242, 246, 252)
STANDING = ("trees", "house")


def draw_scene(canvas: Canvas, picture: ScenePicture, rng: random.Random) -> None:
    top, bottom = (jitter(color, rng) for color in SKY[picture.time])
    horizon = rng.uniform(0.56, 0.62)
    canvas.gradient(top, bottom, 0, horizon + 0.1)
    light_x = rng.uniform(0.2, 0.8)
    for extra in SKY_EXTRAS:
        if extra in picture.extras:
            draw_extra(canvas, extra, picture, (light_x if extra in ("sun", "moon") else rng.random(), horizon), rng)
    ground = Land(canvas, picture, rng, horizon, bottom, light_x).draw()
    for extra in STANDING:
        if extra in picture.extras:
            x = rng.uniform(0.22, 0.78)
            draw_extra(canvas, extra, picture, (x, height_at(ground, x)), rng)
    for extra in ("boat", "balloon", "birds"):
        if extra in picture.extras:
            draw_extra(canvas, extra, picture, (rng.uniform(0.25, 0.75), horizon), rng)
    if "snow" in picture.extras:
        draw_snowflakes(canvas, rng)


def wave(rng: random.Random, base: float, height: float) -> list[Point]:
    """A gentle line from left to right."""
    turns, phase, ripple = rng.uniform(0.7, 1.4), rng.uniform(0, 6.28), rng.uniform(0, 6.28)
    xs = [i / 32 for i in range(33)]
    return [
        (x, base - height * (math.sin(6.28 * turns * x + phase) + 0.35 * math.sin(13.2 * turns * x + ripple)))
        for x in xs
    ]


def ridge(rng: random.Random, base: float, height: float) -> list[Point]:
    """A jagged line from left to right: a few peaks, each broken once."""
    count = rng.randint(3, 4)
    points: list[Point] = [(-0.05, base)]
    for i in range(count):
        peak = (i + 0.5 + rng.uniform(-0.2, 0.2)) / count
        valley = (i + 1 + rng.uniform(-0.1, 0.1)) / count
        points.append((peak, base - height * rng.uniform(0.65, 1.1)))
        points.append((valley, base - height * rng.uniform(0.1, 0.35)))
    return [*points, (1.05, base)]


def height_at(line: Sequence[Point], x: float) -> float:
    for (x0, y0), (x1, y1) in pairwise(line):
        if x0 <= x <= x1:
            return y0 + (y1 - y0) * (x - x0) / max(1e-6, x1 - x0)
    return line[-1][1]


class Land:
    """Draws one kind of land, and returns the line on which trees and houses stand."""

    def __init__(
        self, canvas: Canvas, picture: ScenePicture, rng: random.Random, horizon: float, haze: Color, light_x: float
    ) -> None:
        self.canvas, self.picture, self.rng = canvas, picture, rng
        self.horizon, self.haze, self.light_x = horizon, haze, light_x
        self.snowy = "snow" in picture.extras

    def draw(self) -> list[Point]:
        kinds: dict[str, Callable[[], list[Point]]] = {
            "mountains": self.mountains, "sea": self.sea, "lake": self.lake, "desert": self.desert,
            "forest": self.forest, "hills": self.hills, "city": self.city,
        }  # fmt: skip
        return kinds[self.picture.scene]()

    def color(self, color: Color, haze: float = 0, snow: float = 0.85) -> Color:
        color = mix(color, SNOW, snow) if self.snowy else color
        return mix(lit(jitter(color, self.rng, 6), self.picture.time), self.haze, haze)

    def mountains(self) -> list[Point]:
        self.peaks(0.34)
        edge = wave(self.rng, 0.85, 0.025)
        self.canvas.ground(edge, self.color((84, 138, 72)))
        return edge

    def peaks(self, height: float) -> None:
        for distance, base in ((1, self.horizon), (0, self.horizon + 0.08)):
            tall = height * (0.75 + 0.25 * distance)
            edge = ridge(self.rng, base, tall)
            self.canvas.ground(edge, self.color((92, 102, 130), 0.15 + 0.3 * distance, 0.3))
            for (x0, y0), (x1, y1), (x2, y2) in zip(edge, edge[1:], edge[2:], strict=False):
                if y1 < y0 and y1 < y2:
                    cap = 0.34
                    left, right = (
                        (x1 + (x0 - x1) * cap, y1 + (y0 - y1) * cap),
                        (x1 + (x2 - x1) * cap, y1 + (y2 - y1) * cap),
                    )
                    middle = (x1, y1 + tall * 0.16)
                    self.canvas.polygon([(x1, y1), right, middle, left], self.color(SNOW, 0.1 + 0.2 * distance))

    def water(self, shore: float) -> None:
        near, far = lit((16, 66, 130), self.picture.time), mix(lit((52, 122, 190), self.picture.time), self.haze, 0.25)
        self.canvas.gradient(far, near, shore, 1)
        ripple = mix(far, (255, 255, 255), 0.25)
        for _ in range(14):
            x, y = self.rng.random(), shore + (1 - shore) * self.rng.random()
            self.canvas.line([(x - 0.05, y), (x + 0.05, y)], ripple, 0.008)
        if {"sun", "moon"} & self.picture.extras and self.picture.time != "day":
            shine = SUN[self.picture.time] if "sun" in self.picture.extras else (250, 246, 220)
            for i in range(8):
                y, width = shore + 0.03 + (0.95 - shore) * i / 8, 0.02 + 0.007 * i
                self.canvas.line([(self.light_x - width, y), (self.light_x + width, y)], mix(shine, far, 0.15), 0.014)

    def sea(self) -> list[Point]:
        self.water(self.horizon)
        return [(0, 0.97), (1, 0.97)]

    def lake(self) -> list[Point]:
        self.peaks(0.22)
        self.water(self.horizon + 0.05)
        edge = wave(self.rng, 0.93, 0.012)
        self.canvas.ground(edge, self.color((74, 126, 66)))
        return edge

    def desert(self) -> list[Point]:
        return self.layers([(240, 200, 132), (228, 176, 104), (210, 150, 84)], 0.035)

    def hills(self) -> list[Point]:
        return self.layers([(140, 190, 104), (104, 170, 84), (74, 144, 64)], 0.04)

    def layers(self, colors: list[Color], height: float) -> list[Point]:
        edge: list[Point] = []
        for i, color in enumerate(colors):
            edge = wave(self.rng, self.horizon + 0.03 + 0.13 * i, height)
            self.canvas.ground(edge, self.color(color, 0, 0.9 - 0.07 * i))
        return edge

    def forest(self) -> list[Point]:
        for i, color in enumerate([(78, 128, 92), (50, 104, 66), (28, 78, 46)]):
            foot = self.horizon + 0.1 + 0.1 * i
            shade = self.color(color, 0.3 - 0.14 * i, 0.45)
            self.canvas.rectangle(0, foot, 1, 1, shade)
            x = self.rng.uniform(-0.03, 0.03)
            while x < 1.05:
                self.pine(x, foot + 0.01, (0.22 + 0.05 * i) * self.rng.uniform(0.85, 1.15), shade)
                x += (0.075 + 0.02 * i) * self.rng.uniform(0.8, 1.2)
        self.canvas.rectangle(0, 0.9, 1, 1, self.color((62, 108, 58)))
        return [(0, 0.93), (1, 0.93)]

    def pine(self, x: float, y: float, height: float, color: Color) -> None:
        for i in range(3):
            half, foot = height * (0.28 - 0.065 * i), y - height * (0.05 + 0.26 * i)
            self.canvas.polygon([(x - half, foot), (x + half, foot), (x, foot - height * 0.42)], color)

    def city(self) -> list[Point]:
        street = 0.88
        for row, (gray, low, high) in enumerate([((112, 118, 140), 0.34, 0.5), ((60, 66, 88), 0.2, 0.38)]):
            color = self.color(gray, 0.4 - 0.36 * row, 0.15)
            x = -self.rng.uniform(0, 0.06)
            while x < 1:
                width = self.rng.uniform(0.09, 0.14)
                roof = street - self.rng.uniform(low, high)
                self.canvas.rectangle(x, roof, x + width, 1, color)
                if row:
                    self.windows(x, roof, width, street, color)
                x += width + 0.012
        self.canvas.rectangle(0, street, 1, 1, self.color((74, 78, 84)))
        return [(0, 0.95), (1, 0.95)]

    def windows(self, x: float, roof: float, width: float, street: float, wall: Color) -> None:
        glass = mix(wall, window(self.picture.time), 1 if self.picture.time in ("night", "sunset") else 0.6)
        columns, y = max(2, round(width / 0.04)), roof + 0.03
        while y < street - 0.03:
            for i in range(columns):
                if self.rng.random() < 0.65:
                    left = x + width * (i + 0.28) / columns
                    self.canvas.rectangle(left, y, left + 0.44 * width / columns, y + 0.022, glass)
            y += 0.05
