"""Colours of the sky, and how time of day and weather change the colour of a thing."""

from __future__ import annotations

from collections.abc import Callable

from training.drawing.canvas import mix
from training.drawing.vocabulary import Color, Scene

Tint = tuple[float, float, float]

# Sky colours at the top, in between, and at the horizon.
SKY: dict[str, tuple[Color, Color, Color]] = {
    "sunrise": ((136, 180, 236), (238, 196, 218), (255, 232, 176)),
    "day": ((48, 126, 226), (118, 182, 244), (206, 233, 252)),
    "sunset": ((72, 32, 104), (196, 62, 92), (255, 148, 44)),
    "night": ((7, 9, 36), (18, 26, 74), (46, 62, 122)),
}
SUN: dict[str, Color] = {
    "sunrise": (255, 206, 74),
    "day": (255, 222, 60),
    "sunset": (255, 92, 34),
    "night": (255, 220, 120),
}
MOON: Color = (252, 248, 220)
# The colours of a cloud and of its lower side.
CLOUD: dict[str, tuple[Color, Color]] = {
    "sunrise": ((255, 246, 238), (240, 190, 202)),
    "day": ((255, 255, 255), (200, 218, 238)),
    "sunset": ((255, 178, 120), (182, 76, 104)),
    "night": ((104, 114, 160), (58, 66, 112)),
}
# The gray of a cloudy sky, at its top and at the horizon, and its share of the sky.
_OVERCAST: dict[str, tuple[Color, Color, float]] = {
    "rain": ((112, 122, 136), (172, 182, 192), 0.78),
    "snow": ((128, 146, 172), (190, 202, 218), 0.84),
    "fog": ((206, 211, 216), (226, 229, 231), 0.88),
    "storm": ((40, 42, 58), (104, 108, 122), 0.84),
}
_LIGHT: dict[str, Tint] = {
    "sunrise": (1.0, 0.9, 0.86),
    "day": (1.0, 1.0, 1.0),
    "sunset": (0.92, 0.64, 0.57),
    "night": (0.29, 0.36, 0.58),
}
_PAINTED_LIGHT: dict[str, Tint] = {
    "sunrise": (1.0, 0.97, 0.95),
    "day": (1.0, 1.0, 1.0),
    "sunset": (0.99, 0.92, 0.88),
    "night": (0.87, 0.88, 0.96),
}
# How much saturation a weather removes, and how much light remains.
_DULL: dict[str, tuple[float, float]] = {
    "clear": (0.0, 1.0),
    "rain": (0.3, 0.8),
    "snow": (0.12, 0.93),
    "fog": (0.25, 0.97),
    "storm": (0.35, 0.68),
}
WINDOW_LIT: Color = (255, 218, 104)
WINDOW_DAY: Color = (176, 212, 240)


def lit(color: Color, time: str, weather: str = "clear") -> Color:
    """Returns the colour of a surface at that time and in that weather."""
    taken, left = _DULL[weather]
    if time == "night":
        # In moonlight, snow and sand are brighter than grass and rock.
        left *= 0.85 + 0.45 * (_gray(color) / 255) ** 2
    return _times(_dulled(color, taken), _LIGHT[time], left)


def painted(color: Color, time: str, weather: str = "clear") -> Color:
    """Returns the colour of a painted thing; it keeps more of its colour than the land, so that it can be named."""
    taken, left = _DULL[weather]
    return _times(_dulled(color, taken / 6), _PAINTED_LIGHT[time], 1 - (1 - left) / 8)


def thing_light(scene: Scene) -> Callable[[Color], Color]:
    """Returns a function that maps the colours of a thing to those in a scene."""
    return lambda color: painted(color, scene.time, scene.weather)


def window(time: str) -> Color:
    return WINDOW_LIT if time in ("night", "sunset") else WINDOW_DAY


def is_dark(scene: Scene) -> bool:
    """Returns whether lamps and windows are lit."""
    return scene.time in ("night", "sunset") or scene.weather == "storm"


def sky_colors(scene: Scene) -> tuple[Color, Color, Color]:
    """Returns the colours at the top, in between, and at the horizon."""
    top, middle, bottom = SKY[scene.time]
    if scene.weather == "clear":
        return top, middle, bottom
    high, low, share = _OVERCAST[scene.weather]
    high, low = (_times(gray, _LIGHT[scene.time]) for gray in (high, low))
    return mix(top, high, share), mix(middle, mix(high, low, 0.5), share), mix(bottom, low, share)


def _dulled(color: Color, amount: float) -> Color:
    return mix(color, (_gray(color),) * 3, amount)


def _gray(color: Color) -> int:
    return round(0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2])


def _times(color: Color, tint: Tint, brightness: float = 1.0) -> Color:
    red, green, blue = (round(c * t * brightness) for c, t in zip(color, tint, strict=True))
    return red, green, blue
