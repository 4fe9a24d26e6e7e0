"""The function that draws each figure, and the figure's usual colour."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from training.drawing.animals import butterfly, cat, dog, duck, fish, owl, rabbit, sheep
from training.drawing.brush import Brush
from training.drawing.objects import apple, flower, house, mushroom, tree, umbrella
from training.drawing.vehicles import airplane, balloon, boat, bus, car, rocket
from training.drawing.vocabulary import Color

FIGURE_DRAWERS: Final[dict[str, Callable[[Brush, Color, random.Random], None]]] = {
    "cat": cat,
    "dog": dog,
    "rabbit": rabbit,
    "sheep": sheep,
    "owl": owl,
    "duck": duck,
    "fish": fish,
    "butterfly": butterfly,
    "car": car,
    "bus": bus,
    "boat": boat,
    "airplane": airplane,
    "rocket": rocket,
    "balloon": balloon,
    "house": house,
    "tree": tree,
    "flower": flower,
    "mushroom": mushroom,
    "apple": apple,
    "umbrella": umbrella,
}
# The colour of a figure when the prompt names none.
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
