"""The vocabulary of pictures. The embedded model knows these things and no others."""

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
ANIMALS: Final = ("cat", "dog", "rabbit", "sheep", "owl", "duck", "fish", "butterfly")
VEHICLES: Final = ("car", "bus", "boat", "airplane", "rocket", "balloon")
OBJECTS: Final = ("house", "tree", "flower", "mushroom", "apple", "umbrella")
FIGURES: Final = (*ANIMALS, *VEHICLES, *OBJECTS)
KINDS: Final = (*SHAPES, *FIGURES)
SIZES: Final = ("small", "medium", "large")
POSITIONS: Final = ("center", "left", "right", "top", "bottom")
PAIRS: Final = ("beside", "above")
SCENES: Final = ("mountains", "sea", "lake", "beach", "desert", "forest", "hills", "city")
TIMES: Final = ("sunrise", "day", "sunset", "night")
WEATHERS: Final = ("clear", "rain", "snow", "fog", "storm")
SEASONS: Final = ("summer", "spring", "autumn", "winter")
EXTRAS: Final = ("moon", "sun", "stars", "clouds", "rainbow", "birds", "trees", "flowers")
STYLES: Final = (
    "plain", "watercolor", "pixel art", "line drawing", "oil painting", "comic", "pastel", "mosaic", "blueprint",
)  # fmt: skip
# Styles without visible colours.
COLORLESS: Final = ("line drawing", "blueprint")


@dataclass(frozen=True)
class Thing:
    """A thing of one of KINDS.

    `named` is False if it has its kind's usual colour, and no prompt mentions the colour.
    """

    kind: str
    color: str
    named: bool = True


@dataclass(frozen=True)
class Backdrop:
    """A plain colour behind things of one size."""

    color: str
    size: str = "medium"


@dataclass(frozen=True)
class Scene:
    """A landscape. Snow falls in winter only, and in winter the land is white."""

    scene: str
    time: str = "day"
    weather: str = "clear"
    season: str = "summer"
    extras: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Picture:
    """`things` has none, one or two: from left to right, or from top to bottom if `layout` is "above".

    `layout` is one of POSITIONS for one thing, of PAIRS for two. In a scene, two things are always beside each other.
    """

    style: str
    place: Backdrop | Scene
    things: tuple[Thing, ...] = ()
    layout: str = "center"
