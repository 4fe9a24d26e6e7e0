"""Colours of the sky, and what a time of day does to the colour of a thing."""

from __future__ import annotations

from training.drawing.canvas import mix
from training.drawing.vocabulary import Color

SKY: dict[str, tuple[Color, Color]] = {
    "sunrise": ((130, 168, 226), (255, 204, 176)),
    "day": ((66, 142, 232), (198, 228, 251)),
    "sunset": ((88, 42, 110), (253, 134, 56)),
    "night": ((7, 9, 32), (32, 38, 90)),
}
SUN: dict[str, Color] = {
    "sunrise": (255, 228, 138),
    "day": (255, 226, 80),
    "sunset": (255, 84, 42),
    "night": (255, 220, 120),
}
CLOUD: dict[str, Color] = {
    "sunrise": (255, 234, 226),
    "day": (252, 253, 255),
    "sunset": (250, 172, 142),
    "night": (94, 100, 136),
}
_LIGHT: dict[str, tuple[float, float, float]] = {
    "sunrise": (0.95, 0.87, 0.86),
    "day": (1.0, 1.0, 1.0),
    "sunset": (0.74, 0.53, 0.46),
    "night": (0.22, 0.25, 0.38),
}
WINDOW_LIT: Color = (255, 222, 120)
WINDOW_DAY: Color = (176, 212, 240)


def lit(color: Color, time: str) -> Color:
    """A surface of this colour as it looks at that time."""
    red, green, blue = (round(c * k) for c, k in zip(color, _LIGHT[time], strict=True))
    return red, green, blue


def painted(color: Color, time: str) -> Color:
    """A brightly painted thing keeps more of its colour than the land does, so that its colour can be named."""
    return mix(color, lit(color, time), {"night": 0.45, "sunset": 0.35}.get(time, 0.2))


def window(time: str) -> Color:
    return WINDOW_LIT if time in ("night", "sunset") else WINDOW_DAY
