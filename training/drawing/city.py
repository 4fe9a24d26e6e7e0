"""Streets, houses and towers."""

from __future__ import annotations

from training.drawing.canvas import darker, lighter, mix
from training.drawing.light import WINDOW_LIT, window
from training.drawing.view import GRASS, SNOW, Ground, View
from training.drawing.vocabulary import Color

WALLS: tuple[Color, ...] = (
    (196, 116, 92),
    (214, 184, 142),
    (118, 136, 166),
    (150, 100, 110),
    (92, 122, 138),
    (226, 210, 186),
)
STREET = 0.87


def draw_city(view: View) -> Ground:
    draw_row(view, 0.36, 0.5, 0.6, [(112, 124, 156)])
    draw_row(view, 0.18, 0.34, 0.05, WALLS)
    view.canvas.rectangle(0, STREET - 0.03, 1, STREET, view.tone(GRASS[view.scene.season]))
    view.canvas.rectangle(0, STREET, 1, STREET + 0.025, view.tone(view.snowed((196, 192, 186), 0.7)))
    asphalt = view.tone(view.snowed((84, 88, 98), 0.3))
    view.canvas.gradient(asphalt, darker(asphalt, 0.25), STREET + 0.025, 1)
    for i in range(4):
        view.canvas.rectangle(0.06 + 0.26 * i, 0.948, 0.18 + 0.26 * i, 0.966, view.tone((240, 236, 220)))
    if view.scene.weather in ("rain", "storm"):
        view.canvas.reflect(STREET + 0.025, 1, 0.3)
    return view.ground([(0, 0.925), (1, 0.925)])


def draw_row(view: View, low: float, high: float, distance: float, walls: tuple[Color, ...] | list[Color]) -> None:
    """Houses side by side; those far away have no windows."""
    x, before = -view.rng.uniform(0, 0.06), -1
    while x < 1:
        width, roof = view.rng.uniform(0.11, 0.17), STREET - view.rng.uniform(low, high)
        choice = view.rng.randrange(len(walls))
        before = choice = (choice + 1) % len(walls) if choice == before else choice
        wall = view.tone(walls[choice], distance)
        draw_house(view, x, roof, width, wall, distance)
        if distance < 0.3:
            draw_windows(view, x, roof, width, wall)
        x += width + 0.004


def draw_house(view: View, x: float, roof: float, width: float, wall: Color, distance: float) -> None:
    view.canvas.shaded([(x, roof), (x + width, roof), (x + width, STREET), (x, STREET)],
                       lighter(wall, 0.06), mix(wall, view.haze, 0.4 * distance))  # fmt: skip
    draw_roof(view, x, roof, width, wall, distance)
    dark = x if view.side(x + width / 2) > 0 else x + width * 0.78
    view.canvas.wash([(dark, roof), (dark + width * 0.22, roof), (dark + width * 0.22, STREET), (dark, STREET)],
                     darker(wall, 0.6), 0.4)  # fmt: skip


def draw_roof(view: View, x: float, roof: float, width: float, wall: Color, distance: float) -> None:
    tiles = view.tone(view.snowed((150, 70, 56), 0.92), distance) if distance < 0.3 else wall
    trim = view.tone(SNOW, distance) if view.winter else darker(wall, 0.25)
    middle = x + width / 2
    match view.rng.randrange(4):
        case 0:
            view.canvas.polygon([(x - 0.008, roof), (middle, roof - width * 0.55), (x + width + 0.008, roof)], tiles)
        case 1:
            view.canvas.rectangle(x + width * 0.22, roof - 0.045, x + width * 0.78, roof, wall)
            view.canvas.rectangle(x + width * 0.22, roof - 0.05, x + width * 0.78, roof - 0.034, trim)
            view.canvas.line([(middle, roof - 0.05), (middle, roof - 0.11)], darker(wall, 0.3), 0.014)
        case 2:
            view.canvas.ellipse(middle, roof, width * 0.4, width * 0.36, tiles)
            view.canvas.rectangle(x, roof - 0.001, x + width, roof + 0.018, trim)
        case _:
            view.canvas.rectangle(x - 0.006, roof - 0.01, x + width + 0.006, roof + 0.012, trim)


def draw_windows(view: View, x: float, roof: float, width: float, wall: Color) -> None:
    shining = WINDOW_LIT if view.dark else mix(wall, window(view.scene.time), 0.75)
    glass = mix(darker(wall, 0.35), window("day"), 0.12)
    columns, y = max(2, round(width / 0.05)), roof + 0.035
    while y < STREET - 0.05:
        for i in range(columns):
            left = x + width * (i + 0.24) / columns
            color = shining if view.rng.random() < 0.68 else glass
            view.canvas.rectangle(left, y, left + 0.52 * width / columns, y + 0.03, color)
        y += 0.058
