"""The state of a scene that is being drawn: its horizon, its light, and how colours look in it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from training.drawing.canvas import Canvas, Point, darker, jitter, lighter, mix
from training.drawing.light import is_dark, lit, sky_colors
from training.drawing.lines import height_at
from training.drawing.vocabulary import Color, Scene

SNOW: Color = (240, 245, 253)
GRASS: dict[str, Color] = {
    "summer": (86, 160, 62),
    "spring": (156, 208, 88),
    "autumn": (206, 156, 62),
    "winter": SNOW,
}
# Height of each scene's land above the horizon.
RISES = {"mountains": 0.3, "lake": 0.2, "forest": 0.26, "city": 0.3, "desert": 0.1, "hills": 0.06}
HORIZONS = {"beach": (0.48, 0.52), "sea": (0.5, 0.56)}
# Share of the horizon's haze over things nearby, and over things far away.
HAZE = {"clear": (0.0, 0.6), "rain": (0.06, 0.75), "snow": (0.06, 0.75), "fog": (0.3, 0.96), "storm": (0.0, 0.5)}


@dataclass(frozen=True)
class Ground:
    """Where things may be put.

    `edge` is the line of the ground, empty at sea; `water` is top and bottom of the water.
    """

    horizon: float
    sky: tuple[float, float]
    edge: tuple[Point, ...] = ()
    water: tuple[float, float] | None = None

    def land(self, x: float) -> float | None:
        """Returns the y of the ground at x."""
        return height_at(self.edge, x) if self.edge else None

    def across(self, share: float) -> float:
        """Returns an x on the land, from its left end at 0 to its right end at 1."""
        left, right = (self.edge[0][0], self.edge[-1][0]) if self.edge else (0, 1)
        return left + (right - left) * share


class View:
    def __init__(self, canvas: Canvas, scene: Scene, rng: random.Random) -> None:
        self.canvas, self.scene, self.rng = canvas, scene, rng
        self.horizon = rng.uniform(*HORIZONS.get(scene.scene, (0.56, 0.61)))
        self.light_x = rng.uniform(0.2, 0.8)
        self.sky = sky_colors(scene)
        self.haze = mix(self.sky[1], self.sky[2], 0.5)
        self.winter = scene.season == "winter"
        self.dark = is_dark(scene)

    @property
    def skyline(self) -> float:
        """The y of the highest land."""
        return self.horizon - RISES.get(self.scene.scene, 0)

    def has(self, extra: str) -> bool:
        return extra in self.scene.extras

    def side(self, x: float) -> int:
        """Returns the direction of the light at x: -1 from the left, 1 from the right."""
        return -1 if self.light_x < x else 1

    def tone(self, color: Color, distance: float = 0) -> Color:
        """Returns a colour of the land in the light of this scene; `distance` is 0 nearby and 1 far away."""
        near, far = HAZE[self.scene.weather]
        lit_color = lit(jitter(color, self.rng, 5), self.scene.time, self.scene.weather)
        return mix(lit_color, self.haze, near + (far - near) * distance)

    def snowed(self, color: Color, amount: float) -> Color:
        """Returns the colour with snow on it in winter."""
        return mix(color, SNOW, amount) if self.winter else color

    def layer(self, edge: Sequence[Point], color: Color, distance: float, bottom: float = 1) -> None:
        """Land below an edge: bright where it meets the light, and misty or dark at its foot."""
        tone = self.tone(color, distance)
        mist = 0.85 if self.scene.weather == "fog" else 0.5 if self.scene.time == "sunrise" else 0.25
        deep = mix(tone, self.tone((140, 168, 228)), 0.4) if self.winter else darker(tone, 0.22)
        foot = mix(tone, self.haze, mist * distance) if distance > 0 else deep
        self.canvas.shaded([(0, bottom), *edge, (1, bottom)], lighter(tone, 0.14), foot)

    def patches(self, edge: Sequence[Point], color: Color) -> None:
        """Soft stripes of light and shadow on the land in front."""
        tone = self.tone(color)
        for i in range(10):
            x, half = (i + self.rng.random()) / 10, self.rng.uniform(0.06, 0.14)
            y, thick = self.rng.uniform(height_at(edge, x) + 0.03, 1), self.rng.uniform(0.006, 0.013)
            stripe = lighter(tone, 0.35) if i % 2 else darker(tone, 0.3)
            self.canvas.wash([(x - half, y), (x, y - thick), (x + half, y), (x, y + thick)], stripe, 0.32)

    def ground(self, edge: Sequence[Point], water: tuple[float, float] | None = None) -> Ground:
        standing = tuple((x, min(0.935, max(0.83, y))) for x, y in edge)
        return Ground(self.horizon, (0.08, self.skyline), standing, water)
