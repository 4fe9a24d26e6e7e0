"""Random descriptions of pictures: which things occur together, and how often."""

from __future__ import annotations

import random

from training.drawing.figures import USUAL
from training.drawing.vocabulary import (
    COLORS,
    FIGURES,
    POSITIONS,
    SCENES,
    SEASONS,
    SHAPES,
    SIZES,
    STYLES,
    TIMES,
    WEATHERS,
    Backdrop,
    Picture,
    Scene,
    Thing,
)

STYLE_SHARES = (0.52,) + (0.06,) * 8
BACKDROP_SHARE, PAIR_SHARE, FIGURE_SHARE = 0.45, 0.4, 0.4
NAMED_SHARE = 0.75
WEATHER_SHARES, SEASON_SHARES = (0.6, 0.1, 0.1, 0.1, 0.1), (0.46, 0.18, 0.18, 0.18)
SKY_THINGS = ("balloon", "airplane")
AT_HOME = {
    "mountains": ("house", "sheep", "dog", "rabbit", "car", *SKY_THINGS),
    "sea": ("boat", "boat", "boat", "duck", *SKY_THINGS),
    "lake": ("boat", "boat", "duck", "house", "dog", *SKY_THINGS),
    "beach": ("umbrella", "umbrella", "boat", "dog", "cat", *SKY_THINGS),
    "desert": ("car", "house", "dog", "rocket", *SKY_THINGS),
    "forest": ("house", "owl", "rabbit", "mushroom", "cat", "car", "balloon"),
    "hills": ("house", "house", "sheep", "cat", "dog", "rabbit", "car", "bus", "butterfly", *SKY_THINGS),
    "city": ("car", "car", "bus", "bus", "cat", "dog", "rocket", *SKY_THINGS),
}
EXTRAS_AT_HOME = {
    "mountains": ("trees", "clouds", "birds", "flowers"),
    "sea": ("clouds", "birds"),
    "lake": ("trees", "clouds", "birds", "flowers"),
    "beach": ("clouds", "birds"),
    "desert": ("clouds", "birds", "flowers"),
    "forest": ("clouds", "birds", "flowers"),
    "hills": ("trees", "clouds", "birds", "flowers"),
    "city": ("trees", "clouds", "birds"),
}


def sample(rng: random.Random) -> Picture:
    """Returns the description of a random picture."""
    style = rng.choices(STYLES, STYLE_SHARES)[0]
    return sample_on_backdrop(style, rng) if rng.random() < BACKDROP_SHARE else sample_in_scene(style, rng)


def sample_on_backdrop(style: str, rng: random.Random) -> Picture:
    background, *colors = rng.sample(list(COLORS), 3)
    size = rng.choices(SIZES, (0.25, 0.5, 0.25))[0]
    if rng.random() < PAIR_SHARE:
        things = tuple(sample_thing(color, background, rng) for color in colors)
        return Picture(style, Backdrop(background, size), things, rng.choice(("beside", "beside", "above")))
    layout = rng.choice(POSITIONS) if size != "large" and rng.random() < 0.4 else "center"
    return Picture(style, Backdrop(background, size), (sample_thing(colors[0], background, rng),), layout)


def sample_thing(color: str, background: str, rng: random.Random) -> Thing:
    if rng.random() >= FIGURE_SHARE:
        return Thing(rng.choice(SHAPES), color)
    kind = rng.choice(FIGURES)
    named = rng.random() < NAMED_SHARE or USUAL[kind] == background
    return Thing(kind, color if named else USUAL[kind], named)


def sample_in_scene(style: str, rng: random.Random) -> Picture:
    scene = sample_scene(rng)
    kinds = list(dict.fromkeys(AT_HOME[scene.scene]))
    count = rng.choices((0, 1, 2), (0.3, 0.42, 0.28))[0]
    things = []
    for kind in rng.sample(kinds, count):
        named = rng.random() < NAMED_SHARE
        things.append(Thing(kind, rng.choice(list(COLORS)) if named else USUAL[kind], named))
    layout = "beside" if count == 2 else rng.choice(("left", "center", "center", "right")) if count else "center"
    return Picture(style, scene, tuple(things), layout)


def sample_scene(rng: random.Random) -> Scene:
    scene, time = rng.choice(SCENES), rng.choice(TIMES)
    weather = rng.choices(WEATHERS, WEATHER_SHARES)[0]
    season = "winter" if weather == "snow" else rng.choices(SEASONS, SEASON_SHARES)[0]
    extras = set(sample_lights(time, rng)) if weather in ("clear", "snow") else set()
    at_home = [*EXTRAS_AT_HOME[scene], *(["rainbow"] if time == "day" and weather in ("clear", "rain") else [])]
    at_home = [extra for extra in at_home if not (extra == "flowers" and season == "winter")]
    at_home = [extra for extra in at_home if not (extra == "clouds" and weather in ("fog", "storm", "rain"))]
    extras.update(rng.sample(at_home, min(len(at_home), rng.choices((0, 1, 2), (0.4, 0.42, 0.18))[0])))
    return Scene(scene, time, weather, season, frozenset(extras))


def sample_lights(time: str, rng: random.Random) -> list[str]:
    if time == "night":
        return [light for light, share in (("moon", 0.6), ("stars", 0.5)) if rng.random() < share]
    return ["sun"] if rng.random() < (0.4 if time == "day" else 0.6) else []
