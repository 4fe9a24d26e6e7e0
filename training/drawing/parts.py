"""Parts that several figures share: shades, eyes, windows."""

from __future__ import annotations

import math
from typing import Final

from training.drawing.brush import Brush
from training.drawing.canvas import darker, lighter, mix
from training.drawing.vocabulary import Color

INK: Final = (34, 31, 40)
IRON: Final = (92, 95, 104)
PAPER: Final = (252, 249, 240)
CREAM: Final = (250, 232, 200)
RED: Final = (214, 48, 44)
ORANGE: Final = (250, 146, 26)
GOLD: Final = (255, 206, 50)
BLUE: Final = (58, 104, 190)
GLASS: Final = (186, 226, 242)
LAMP: Final = (255, 224, 112)


def shade(color: Color, amount: float = 0.13) -> Color:
    """Returns a darker colour of the same name; of a colour that is nearly black, a lighter one."""
    return darker(color, amount) if max(color) > 60 else lighter(color, min(amount, 0.12))


def tint(color: Color, amount: float = 0.15) -> Color:
    """Returns a lighter colour of the same name; of a colour that is nearly white, a slightly darker one."""
    if max(color) <= 60:
        return lighter(color, amount / 2)
    return lighter(color, amount) if min(color) < 200 else darker(color, amount / 2)


def pale(color: Color) -> Color:
    """Returns a pale colour for a belly or a muzzle."""
    return mix(color, CREAM, 0.72)


def unlike(color: Color, *choices: Color) -> Color:
    """Returns the first of the choices that differs visibly from the colour behind it."""
    return next((choice for choice in choices if math.dist(choice, color) > 80), choices[-1])


def eye(brush: Brush, x: float, y: float, size: float) -> None:
    brush.ellipse(x, y, size, size * 1.1, PAPER)
    brush.ellipse(x + size * 0.1, y, size * 0.72, size * 0.85, INK)
    brush.ellipse(x + size * 0.35, y - size * 0.35, size * 0.3, size * 0.3, PAPER)


def glass(brush: Brush, wall: Color) -> tuple[Brush, Color]:
    """Returns brush and colour of a window, which is lit when it is dark."""
    return (brush.shining(), LAMP) if brush.dark else (brush, unlike(wall, GLASS, BLUE))
