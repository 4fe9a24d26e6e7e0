"""A Pillow image with coordinates from 0 to 1, drawn at twice its size and reduced, so that edges are smooth."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training.drawing.vocabulary import Color

SUPERSAMPLING = 2
Point = tuple[float, float]


def mix(first: Color, second: Color, amount: float) -> Color:
    """`first` at 0, `second` at 1."""
    red, green, blue = (round(a + (b - a) * amount) for a, b in zip(first, second, strict=True))
    return red, green, blue


def lighter(color: Color, amount: float) -> Color:
    return mix(color, (255, 255, 255), amount)


def darker(color: Color, amount: float) -> Color:
    return mix(color, (0, 0, 0), amount)


def jitter(color: Color, rng: random.Random, amount: float = 8) -> Color:
    red, green, blue = (round(min(255, max(0, c + rng.uniform(-amount, amount)))) for c in color)
    return red, green, blue


def blended(top: Color, bottom: Color, width: int, height: int) -> Image.Image:
    """A rectangle of one colour above that becomes the other below."""
    blend = np.linspace(0, 1, height)[:, None]
    column = (np.array(top) * (1 - blend) + np.array(bottom) * blend).astype(np.uint8)
    return Image.fromarray(column[:, None, :]).resize((width, height), Image.Resampling.NEAREST)


class Canvas:
    """Draws in a unit square: x to the right, y downwards."""

    def __init__(self, size: int) -> None:
        self.pixels = size * SUPERSAMPLING
        self.image = Image.new("RGB", (self.pixels, self.pixels))
        self.pen = ImageDraw.Draw(self.image)

    def finished(self) -> Image.Image:
        return self.image.reduce(SUPERSAMPLING)

    def gradient(self, top: Color, bottom: Color, start: float = 0.0, end: float = 1.0) -> None:
        first, last = round(start * self.pixels), round(end * self.pixels)
        self.image.paste(blended(top, bottom, self.pixels, max(last - first, 1)), (0, first))

    def polygon(self, points: Sequence[Point], color: Color) -> None:
        self.pen.polygon(self._scaled(points), fill=color)

    def rectangle(self, left: float, top: float, right: float, bottom: float, color: Color) -> None:
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], color)

    def ellipse(self, x: float, y: float, width: float, height: float, color: Color) -> None:
        """Centre and half axes."""
        (left, top), (right, bottom) = self._scaled([(x - width, y - height), (x + width, y + height)])
        self.pen.ellipse((left, top, right, bottom), fill=color)

    def line(self, points: Sequence[Point], color: Color, width: float) -> None:
        self.pen.line(self._scaled(points), fill=color, width=max(1, round(width * self.pixels)), joint="curve")

    def arc(self, x: float, y: float, radius: float, color: Color, width: float) -> None:
        """The upper half of a circle."""
        (left, top), (right, bottom) = self._scaled([(x - radius, y - radius), (x + radius, y + radius)])
        self.pen.arc((left, top, right, bottom), 180, 360, fill=color, width=max(1, round(width * self.pixels)))

    def ground(self, edge: Sequence[Point], color: Color) -> None:
        """Everything below a line that runs from left to right."""
        self.polygon([(0, 1), *edge, (1, 1)], color)

    def shaded(self, points: Sequence[Point], top: Color, bottom: Color) -> None:
        """A polygon of one colour at its top that becomes the other at its bottom."""
        corner, mask = self._stencil(points, 255)
        self.image.paste(blended(top, bottom, *mask.size), corner, mask)

    def wash(self, points: Sequence[Point], color: Color, strength: float) -> None:
        """A transparent polygon; `strength` is its opacity."""
        corner, mask = self._stencil(points, round(255 * strength))
        self.image.paste(color, (*corner, corner[0] + mask.width, corner[1] + mask.height), mask)

    def veil(self, color: Color, top: float, bottom: float, first: float, last: float) -> None:
        """A haze from side to side; its strength is `first` at its top and becomes `last` at its bottom."""
        start, end = round(top * self.pixels), round(bottom * self.pixels)
        levels = np.linspace(255 * first, 255 * last, max(end - start, 1)).astype(np.uint8)
        mask = Image.fromarray(levels[:, None]).resize((self.pixels, len(levels)), Image.Resampling.NEAREST)
        self.image.paste(color, (0, start, self.pixels, start + len(levels)), mask)

    def reflect(self, shore: float, bottom: float, strength: float) -> None:
        """Mirrors what is above `shore` in the water from `shore` down to `bottom`."""
        start, end = round(shore * self.pixels), round(bottom * self.pixels)
        above = self.image.crop((0, 2 * start - end, self.pixels, start)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        water = self.image.crop((0, start, self.pixels, end))
        self.image.paste(Image.blend(water, above, strength), (0, start))

    def glow(self, x: float, y: float, radius: float, color: Color, strength: float) -> None:
        rows, columns = np.mgrid[0:64, 0:64] / 64
        distance = np.hypot(columns - x, rows - y) / radius
        mask = Image.fromarray((255 * strength * np.exp(-(distance**2) / 2)).astype(np.uint8))
        self.image.paste(color, (0, 0), mask.resize(self.image.size, Image.Resampling.BILINEAR))

    def mask(self) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        mask = Image.new("L", self.image.size)
        return mask, ImageDraw.Draw(mask)

    def shade(self, mask: Image.Image, offset: Point, softness: float, strength: float) -> None:
        """A soft shadow of what a mask covers."""
        quarter = mask.resize((self.pixels // 4, self.pixels // 4))
        blurred = quarter.filter(ImageFilter.GaussianBlur(softness * self.pixels / 4))
        shadow = blurred.resize(mask.size).point(lambda value: value * strength)
        self.image.paste((0, 0, 0), (round(offset[0] * self.pixels), round(offset[1] * self.pixels)), shadow)

    def paste(self, other: Canvas, mask: Image.Image) -> None:
        self.image.paste(other.image, (0, 0), mask)

    def _stencil(self, points: Sequence[Point], level: int) -> tuple[tuple[int, int], Image.Image]:
        """Returns a polygon as a mask no larger than necessary, and the pixel of the mask's corner."""
        scaled = self._scaled(points)
        left, top = (max(0, math.floor(min(point[axis] for point in scaled))) for axis in (0, 1))
        right, bottom = (min(self.pixels, math.ceil(max(point[axis] for point in scaled)) + 1) for axis in (0, 1))
        mask = Image.new("L", (max(1, right - left), max(1, bottom - top)))
        ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in scaled], fill=level)
        return (left, top), mask

    def _scaled(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self.pixels, y * self.pixels) for x, y in points]
