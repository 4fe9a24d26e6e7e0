"""The outlines of plain shapes."""

from __future__ import annotations

import math

from PIL import Image

from training.drawing.canvas import Canvas, Point


def shape_mask(canvas: Canvas, shape: str, center: Point, radius: float, rotation: float = 0) -> Image.Image:
    mask, pen = canvas.mask()
    size = canvas.pixels

    def disc(x: float, y: float, r: float, fill: int) -> None:
        pen.ellipse(((x - r) * size, (y - r) * size, (x + r) * size, (y + r) * size), fill=fill)

    x, y = center
    if shape in ("circle", "ring", "crescent"):
        disc(x, y, radius, 255)
        if shape == "ring":
            disc(x, y, radius * 0.56, 0)
        if shape == "crescent":
            disc(x + radius * 0.45, y - radius * 0.1, radius * 0.9, 0)
    else:
        corners = [(x + dx * radius, y + dy * radius) for dx, dy in outline(shape, rotation)]
        pen.polygon([(px * size, py * size) for px, py in corners], fill=255)
    return mask


def outline(shape: str, rotation: float) -> list[Point]:
    """Returns the corners of a shape about the origin, with a radius of about 1. The rotation is in degrees."""
    match shape:
        case "square":
            return polygon(4, 1.12, rotation - 45)
        case "triangle":
            return [(x, y + 0.15) for x, y in polygon(3, 1.15, rotation - 90)]
        case "hexagon":
            return polygon(6, 1.03, rotation)
        case "diamond":
            return [(0, -1.15), (0.75, 0), (0, 1.15), (-0.75, 0)]
        case "star":
            return [
                (radius * math.cos(angle), radius * math.sin(angle))
                for i in range(10)
                for radius, angle in [(1.15 if i % 2 == 0 else 0.47, math.radians(rotation - 90 + 36 * i))]
            ]
        case "cross":
            arm = 0.36
            return [
                (-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm),
                (arm, 1), (-arm, 1), (-arm, arm), (-1, arm), (-1, -arm), (-arm, -arm),
            ]  # fmt: skip
        case "heart":
            return [heart(2 * math.pi * i / 60) for i in range(60)]
    raise ValueError(f"No shape is called {shape!r}")


def polygon(corners: int, radius: float, start: float) -> list[Point]:
    angles = [math.radians(start + 360 * i / corners) for i in range(corners)]
    return [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]


def heart(t: float) -> Point:
    """Returns a point of the heart curve, https://mathworld.wolfram.com/HeartCurve.html, scaled to a radius of 1."""
    x = math.sin(t) ** 3
    y = (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 16
    return 1.05 * x, -1.05 * y
