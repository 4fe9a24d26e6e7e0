"""Trees and flowers, and branches in the foreground of some seasons."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from training.drawing.canvas import Point, darker, lighter, mix
from training.drawing.light import painted
from training.drawing.lines import along
from training.drawing.view import SNOW, Ground, View
from training.drawing.vocabulary import COLORS, Color

LEAVES: dict[str, tuple[Color, ...]] = {
    "summer": ((54, 136, 58), (70, 148, 54), (40, 120, 64)),
    "spring": ((250, 170, 204), (252, 226, 236), (246, 150, 190)),
    "autumn": ((232, 112, 30), (206, 56, 34), (244, 176, 44)),
    "winter": ((54, 104, 84), (46, 94, 80)),
}
TRUNK: Color = (104, 70, 46)
PINE: Color = (34, 96, 62)
BLOSSOMS = ("red", "yellow", "pink", "white", "purple", "orange")
CROWN = ((-0.2, -0.56, 0.19), (0.2, -0.56, 0.19), (-0.12, -0.76, 0.18), (0.13, -0.76, 0.18), (0.0, -0.6, 0.2))
FRONDS = ((-170, 0.95), (-130, 0.7), (-60, 0.8), (-10, 1.0), (30, 0.8), (150, 0.75))


def draw_trees(view: View, ground: Ground) -> None:
    """Draws trees at both sides, so that the middle is free."""
    tall = 0.3 if view.scene.scene == "city" else 0.38
    for left, right, share in ((0.2, 0.27, 0.75), (0.76, 0.82, 0.8), (0.04, 0.11, 1.0), (0.89, 0.96, 0.95)):
        x = ground.across(view.rng.uniform(left, right))
        height = tall * share * view.rng.uniform(0.92, 1.05)
        draw_tree(view, (x, (ground.land(x) or view.horizon) - 0.05 + 0.05 * share), height)


def draw_tree(view: View, foot: Point, height: float) -> None:
    if view.scene.scene in ("desert", "beach", "sea"):
        draw_palm(view, foot, height)
    elif view.winter:
        draw_pine(view, foot, height, PINE)
    else:
        draw_leafy(view, foot, height, view.rng.choice(LEAVES[view.scene.season]))


def draw_leafy(view: View, foot: Point, height: float, leaves: Color, distance: float = 0) -> None:
    """A round crown with a bright side and a dark one."""
    (x, y), side = foot, view.side(foot[0])
    wood = view.tone(TRUNK, distance)
    view.canvas.polygon(
        [(x - 0.06 * height, y), (x - 0.035 * height, y - height * 0.6), (x + 0.035 * height, y - height * 0.6),
         (x + 0.06 * height, y)], wood
    )  # fmt: skip
    color = view.tone(leaves, distance)
    shades = ((darker(color, 0.24), 0.0, 1.0), (color, 0.035, 0.86), (lighter(color, 0.15), 0.07, 0.56))
    for tone, shift, scale in shades:
        for dx, dy, size in CROWN:
            view.canvas.ellipse(
                x + (dx * scale + side * shift) * height,
                y + (dy - shift) * height,
                size * scale * height,
                size * scale * height,
                tone,
            )


def draw_pine(view: View, foot: Point, height: float, color: Color, distance: float = 0) -> None:
    """Three tiers, bright on the side of the light, white in winter."""
    (x, y), side = foot, view.side(foot[0])
    tone = view.tone(color, distance)
    view.canvas.rectangle(x - 0.04 * height, y - 0.1 * height, x + 0.04 * height, y, view.tone(TRUNK, distance))
    shade, bright = darker(tone, 0.2), view.tone(SNOW, distance) if view.winter else lighter(tone, 0.14)
    for i in range(3):
        half, low = height * (0.3 - 0.07 * i), y - height * (0.08 + 0.25 * i)
        top, deep = low - height * 0.42, height * 0.42
        view.canvas.polygon([(x - half, low), (x + half, low), (x, top)], shade)
        if view.winter:
            snow = ((0.52, 0.52), (0.25, 0.42), (0.0, 0.6), (-0.25, 0.4), (-0.5, 0.5))
            view.canvas.polygon([(x, top), *((x + dx * half, top + dy * deep) for dx, dy in snow)], bright)
        else:
            view.canvas.polygon([(x + side * half, low), (x + side * half * 0.3, low), (x, top)], bright)


def draw_palm(view: View, foot: Point, height: float) -> None:
    (x, y), lean = foot, 0.12 if foot[0] < 0.5 else -0.12
    top = (x + lean * height, y - height * 0.86)
    wood, leaf = view.tone((150, 108, 66)), view.tone(view.snowed((56, 142, 66), 0.25))
    bend = (x + lean * height * 0.25, y - height * 0.45)
    view.canvas.line([(x, y), bend, top], wood, 0.075 * height)
    for i, (angle, length) in enumerate(FRONDS):
        draw_frond(view, top, math.radians(angle), length * height * 0.48, lighter(leaf, 0.16) if i % 2 else leaf)


def draw_frond(view: View, start: Point, angle: float, length: float, color: Color) -> None:
    """A long leaf that hangs down at its end."""
    x, y = start
    across, up = math.cos(angle) * length, math.sin(angle) * length
    spine = [(x + across * t, y + up * t + length * 0.5 * t * t) for t in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    widths = (0.05, 0.11, 0.14, 0.13, 0.09, 0)
    above = [(px, py - width * length) for (px, py), width in zip(spine, widths, strict=True)]
    below = [(px, py + width * length) for (px, py), width in zip(spine, widths, strict=True)]
    view.canvas.polygon([*above, *reversed(below)], color)


def draw_flowers(view: View, ground: Ground) -> None:
    count = 11
    positions = [((i + view.rng.uniform(0.2, 0.8)) / count, view.rng.uniform(-0.02, 0.075)) for i in range(count)]
    first = view.rng.randrange(len(BLOSSOMS))
    row = {"city": -0.05, "sea": -0.01}.get(view.scene.scene)
    for i, (share, drop) in enumerate(sorted(positions, key=lambda position: position[1])):
        x = ground.across(share)
        y = min(0.985, (ground.land(x) or 0.9) + (drop if row is None else row))
        draw_flower(view, (x, y), view.rng.uniform(0.03, 0.037), COLORS[BLOSSOMS[(first + i) % len(BLOSSOMS)]])


def draw_flower(view: View, foot: Point, radius: float, petals: Color) -> None:
    x, y = foot[0], foot[1] - radius * 2.2
    color = painted(petals, view.scene.time, view.scene.weather)
    view.canvas.line([foot, (x, y)], view.tone((34, 110, 44)), 0.016)
    draw_petals(view, (x, y), 0.58 * radius, 0.5 * radius, color)
    heart = COLORS["brown"] if petals == COLORS["yellow"] else COLORS["yellow"]
    view.canvas.ellipse(x, y, 0.36 * radius, 0.36 * radius, painted(heart, view.scene.time, view.scene.weather))


def draw_petals(view: View, center: Point, reach: float, radius: float, color: Color) -> None:
    for i in range(5):
        angle = math.radians(72 * i - 90)
        x, y = center[0] + reach * math.cos(angle), center[1] + reach * math.sin(angle)
        view.canvas.ellipse(x, y, radius, radius, color)


def draw_branch(view: View) -> None:
    """Draws a branch at the top: in spring with blossoms, in autumn with falling leaves."""
    blossoms: dict[str, Callable[[View, Point, float, Color], None]] = {"spring": draw_blossom, "autumn": draw_leaf}
    draw = blossoms.get(view.scene.season)
    if draw is None:
        return
    colors = [mix(view.tone(color), color, 0.4) for color in LEAVES[view.scene.season]]
    # On the side away from the sun or moon, which it would cover.
    corner = 1.0 if view.light_x < 0.5 else 0.0
    inwards = 1 - 2 * corner
    twig = [(corner - 0.02 * inwards, 0.1), (corner + 0.14 * inwards, 0.07), (corner + 0.34 * inwards, 0.12)]
    view.canvas.line(twig, view.tone(TRUNK), 0.018)
    for i in range(9):
        x, y = along_line(twig, i / 8)
        draw(view, (x, y + view.rng.uniform(-0.045, 0.05)), view.rng.uniform(0.026, 0.036), colors[i % len(colors)])
    for i in range(7):
        position = ((i + view.rng.uniform(0.1, 0.9)) / 7, view.rng.uniform(0.3, 0.8))
        draw(view, position, 0.02 if view.scene.season == "autumn" else 0.013, colors[i % len(colors)])


def along_line(line: Sequence[Point], share: float) -> Point:
    position = share * (len(line) - 1)
    first = min(int(position), len(line) - 2)
    return along(line[first], line[first + 1], position - first)


def draw_blossom(view: View, position: Point, radius: float, color: Color) -> None:
    x, y = position
    draw_petals(view, position, 0.5 * radius, 0.5 * radius, color)
    view.canvas.ellipse(x, y, 0.28 * radius, 0.28 * radius, darker(color, 0.25))


def draw_leaf(view: View, position: Point, radius: float, color: Color) -> None:
    (x, y), angle = position, view.rng.uniform(0, math.pi)
    across, down = math.cos(angle) * radius * 1.25, math.sin(angle) * radius * 1.25
    view.canvas.polygon(
        [(x - across, y - down), (x - down * 0.5, y + across * 0.5), (x + across, y + down),
         (x + down * 0.5, y - across * 0.5)], color
    )  # fmt: skip
