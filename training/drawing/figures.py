"""Which function draws which figure, and its usual colour."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from training.drawing import animals, objects, vehicles
from training.drawing.brush import Brush
from training.drawing.vocabulary import Color

FIGURE_DRAWERS: Final[dict[str, Callable[[Brush, Color, random.Random], None]]] = {
    "cat": animals.cat,
    "dog": animals.dog,
    "rabbit": animals.rabbit,
    "sheep": animals.sheep,
    "owl": animals.owl,
    "duck": animals.duck,
    "fish": animals.fish,
    "butterfly": animals.butterfly,
    "car": vehicles.car,
    "bus": vehicles.bus,
    "boat": vehicles.boat,
    "airplane": vehicles.airplane,
    "rocket": vehicles.rocket,
    "balloon": vehicles.balloon,
    "house": objects.house,
    "tree": objects.tree,
    "flower": objects.flower,
    "mushroom": objects.mushroom,
    "apple": objects.apple,
    "umbrella": objects.umbrella,
}
# Where nobody names a colour.
USUAL: Final[dict[str, str]] = {
    "cat": "orange",
    "dog": "brown",
    "rabbit": "gray",
    "sheep": "white",
    "owl": "brown",
    "duck": "yellow",
    "fish": "orange",
    "butterfly": "blue",
    "car": "red",
    "bus": "yellow",
    "boat": "white",
    "airplane": "white",
    "rocket": "white",
    "balloon": "red",
    "house": "yellow",
    "tree": "green",
    "flower": "pink",
    "mushroom": "red",
    "apple": "red",
    "umbrella": "purple",
}
