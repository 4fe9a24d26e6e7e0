"""What a picture can show. The embedded model knows these things and no others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Color = tuple[int, int, int]

COLORS: Final[dict[str, Color]] = {
    "red": (222, 38, 38),
    "orange": (247, 138, 28),
    "yellow": (252, 220, 48),
    "green": (46, 160, 67),
    "blue": (40, 92, 222),
    "purple": (128, 56, 182),
    "pink": (247, 130, 182),
    "brown": (122, 78, 42),
    "black": (22, 22, 26),
    "white": (246, 246, 246),
    "gray": (134, 138, 142),
    "cyan": (56, 204, 218),
}
SHAPES: Final = ("circle", "square", "triangle", "star", "heart", "ring", "crescent", "diamond", "cross", "hexagon")
SIZES: Final = ("small", "medium", "large")
POSITIONS: Final = ("center", "left", "right", "top", "bottom")
SCENES: Final = ("mountains", "sea", "lake", "desert", "forest", "hills", "city")
TIMES: Final = ("sunrise", "day", "sunset", "night")
EXTRAS: Final = (
    "moon", "sun", "house", "boat", "trees", "birds", "clouds", "stars", "balloon", "rainbow", "snow",
)  # fmt: skip
PAINTED: Final = ("house", "boat", "balloon")
STYLES: Final = ("plain", "watercolor", "pixel art", "line drawing")


@dataclass(frozen=True)
class ShapePicture:
    """One shape on a plain background."""

    style: str
    shape: str
    color: str
    background: str
    size: str
    position: str


@dataclass(frozen=True)
class ScenePicture:
    """A landscape at a time of day, with things in it. `colors` paints the extras named in PAINTED."""

    style: str
    scene: str
    time: str
    extras: frozenset[str]
    colors: tuple[tuple[str, str], ...]

    def color_of(self, extra: str) -> str | None:
        return dict(self.colors).get(extra)


Picture = ShapePicture | ScenePicture
