"""A brush: draws a figure in its own coordinates, at any position and in any light."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy

from training.drawing.canvas import Canvas, Point
from training.drawing.curves import closed_curve, open_curve, oval, turn
from training.drawing.vocabulary import Color


def as_it_is(color: Color) -> Color:
    return color


class Brush:
    """x to the right and y downwards, both from -1 to 1, in a square of `radius` about `center` on a canvas.

    `light` maps a colour to how it looks at this time of day; `dark` is whether lamps and windows are lit. `mirrored`
    swaps left and right.
    """

    def __init__(
        self,
        canvas: Canvas,
        center: Point,
        radius: float,
        light: Callable[[Color], Color] = as_it_is,
        dark: bool = False,
        mirrored: bool = False,
    ) -> None:
        self.canvas, self.center, self.radius = canvas, center, radius
        self.light, self.dark = light, dark
        self._side = -1 if mirrored else 1
        self.angle = 0.0

    def turned(self, angle: float) -> Brush:
        """Draws the same, turned about the centre by degrees clockwise."""
        other = copy(self)
        other.angle += angle
        return other

    def shining(self) -> Brush:
        """Returns a brush that ignores the scene's light, for things that glow."""
        other = copy(self)
        other.light = as_it_is
        return other

    def polygon(self, points: Sequence[Point], color: Color) -> None:
        self.canvas.polygon(self._placed(points), self.light(color))

    def rectangle(self, left: float, top: float, right: float, bottom: float, color: Color) -> None:
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], color)

    def ellipse(self, x: float, y: float, width: float, height: float, color: Color) -> None:
        """Centre and half axes."""
        if self.angle:
            self.oval(x, y, width, height, 0, color)
        else:
            ((x, y),) = self._placed([(x, y)])
            self.canvas.ellipse(x, y, width * self.radius, height * self.radius, self.light(color))

    def line(self, points: Sequence[Point], color: Color, width: float) -> None:
        self.canvas.line(self._placed(points), self.light(color), width * self.radius)

    def oval(self, x: float, y: float, width: float, height: float, angle: float, color: Color) -> None:
        """An ellipse that is turned by degrees clockwise."""
        self.polygon(oval(x, y, width, height, angle), color)

    def blob(self, points: Sequence[Point], color: Color) -> None:
        """The area inside a smooth curve through the points."""
        self.polygon(closed_curve(points), color)

    def rounded(self, left: float, top: float, right: float, bottom: float, corner: float, color: Color) -> None:
        self.rectangle(left + corner, top, right - corner, bottom, color)
        self.rectangle(left, top + corner, right, bottom - corner, color)
        for x in (left + corner, right - corner):
            for y in (top + corner, bottom - corner):
                self.ellipse(x, y, corner, corner, color)

    def stroke(self, points: Sequence[Point], color: Color, width: float, end: float | None = None) -> None:
        """A smooth line with round ends, whose width goes from `width` to `end`."""
        curve = open_curve(points)
        change = 0 if end is None else (end - width) / (len(curve) - 1)
        for i, (x, y) in enumerate(curve):
            radius = (width + change * i) / 2
            self.ellipse(x, y, radius, radius, color)
            self.line([curve[max(i - 1, 0)], (x, y)], color, 2 * radius)

    def _placed(self, points: Sequence[Point]) -> list[Point]:
        x0, y0 = self.center
        turned = (turn(point, self.angle) for point in points) if self.angle else points
        return [(x0 + self._side * x * self.radius, y0 + y * self.radius) for x, y in turned]
