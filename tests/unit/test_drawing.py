"""Drawn training pictures match their descriptions."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest

from training.captions import caption
from training.color_check import background_and_shape, colors_of_pair
from training.dataset import Pixels, chunks, draw_example, sample_picture
from training.drawing.picture import draw
from training.drawing.sampling import sample
from training.drawing.vocabulary import (
    COLORLESS,
    COLORS,
    EXTRAS,
    FIGURES,
    KINDS,
    SCENES,
    SEASONS,
    SHAPES,
    STYLES,
    TIMES,
    WEATHERS,
    Backdrop,
    Picture,
    Scene,
    Thing,
)

COLORED = [style for style in STYLES if style not in COLORLESS]


def pixels(picture: Picture, seed: int = 0, size: int = 128) -> Pixels:
    return np.asarray(draw(picture, random.Random(seed), size))


@pytest.mark.parametrize("kind", KINDS)
def test_a_thing_has_its_colour_on_any_backdrop(kind: str) -> None:
    for color, background in (("red", "white"), ("blue", "yellow"), ("white", "green"), ("black", "pink")):
        picture = Picture("plain", Backdrop(background, "large"), (Thing(kind, color),))
        assert background_and_shape(pixels(picture), "plain") == (background, color)


@pytest.mark.parametrize("style", COLORED)
def test_a_style_keeps_colours(style: str) -> None:
    for color, background in (("red", "blue"), ("green", "white"), ("yellow", "purple"), ("orange", "gray")):
        picture = Picture(style, Backdrop(background, "large"), (Thing("circle", color),))
        assert background_and_shape(pixels(picture), style) == (background, color)


@pytest.mark.parametrize("layout", ["beside", "above"])
def test_two_things_stand_in_their_order(layout: str) -> None:
    for first, second in product(("red", "cyan"), ("green", "purple")):
        things = (Thing("cat", first), Thing("square", second))
        picture = Picture("plain", Backdrop("white"), things, layout)
        assert colors_of_pair(pixels(picture), "plain", layout) == (first, second)


@pytest.mark.parametrize("style", STYLES)
def test_each_style_looks_unlike_the_plain_drawing(style: str) -> None:
    picture = Picture("plain", Scene("hills", extras=frozenset({"sun"})), (Thing("house", "red"),))
    difference = np.abs(pixels(picture).astype(int) - pixels(Picture(style, picture.place, picture.things))).mean()
    assert (difference > 8) == (style != "plain")


@pytest.mark.parametrize("scene", SCENES)
def test_night_is_dark_and_blue_and_day_is_bright(scene: str) -> None:
    day, night = (pixels(Picture("plain", Scene(scene, time))).mean((0, 1)) for time in ("day", "night"))
    assert night.mean() < 0.6 * day.mean()
    assert night[2] > night[0]


@pytest.mark.parametrize("scene", SCENES)
def test_weather_and_season_can_be_seen(scene: str) -> None:
    plain = pixels(Picture("plain", Scene(scene))).astype(int)
    for weather in WEATHERS[1:]:
        season = "winter" if weather == "snow" else "summer"
        assert np.abs(pixels(Picture("plain", Scene(scene, weather=weather, season=season))) - plain).mean() > 8
    for season in SEASONS[1:]:
        assert np.abs(pixels(Picture("plain", Scene(scene, season=season))) - plain).mean() > 1


def test_everything_can_be_drawn_together() -> None:
    for scene, time, weather in product(SCENES, TIMES, WEATHERS):
        season = "winter" if weather == "snow" else "autumn"
        place = Scene(scene, time, weather, season, frozenset(EXTRAS))
        picture = Picture("plain", place, (Thing("car", "red"), Thing("balloon", "blue")), "beside")
        assert pixels(picture, size=32).std() > 5


def test_a_picture_is_decided_by_its_seed() -> None:
    for seed in range(40):
        picture, first = draw_example(seed, 64)
        assert picture == sample_picture(seed)
        assert np.array_equal(first, draw_example(seed, 64)[1])


def test_pictures_come_in_order_from_many_processes() -> None:
    parts = list(chunks(7, 300, 32, workers=2))
    together = np.concatenate(parts)
    assert together.shape == (300, 32, 32, 3)
    assert all(np.array_equal(together[i], draw_example(7 + i, 32)[1]) for i in (0, 149, 299))


def test_a_picture_looks_the_same_at_any_size() -> None:
    picture = Picture("plain", Scene("lake", "sunset", extras=frozenset({"sun"})), (Thing("boat", "red"),))
    small, large = pixels(picture, size=128).astype(int), pixels(picture, size=256).astype(int)
    assert np.abs(large.reshape(128, 2, 128, 2, 3).mean((1, 3)) - small).mean() < 6


def test_all_that_there_is_is_sampled() -> None:
    pictures = [sample(random.Random(seed)) for seed in range(6000)]
    things = [thing for picture in pictures for thing in picture.things]
    scenes = [picture.place for picture in pictures if isinstance(picture.place, Scene)]
    assert {thing.kind for thing in things} == {*SHAPES, *FIGURES}
    assert {thing.color for thing in things} == set(COLORS)
    assert {picture.style for picture in pictures} == set(STYLES)
    assert {(scene.scene, scene.time) for scene in scenes} == set(product(SCENES, TIMES))
    assert {scene.weather for scene in scenes} == set(WEATHERS)
    assert {scene.season for scene in scenes} == set(SEASONS)
    assert set().union(*(scene.extras for scene in scenes)) == set(EXTRAS)
    assert all(scene.season == "winter" for scene in scenes if scene.weather == "snow")


def test_no_thing_has_the_colour_of_its_backdrop() -> None:
    for seed in range(3000):
        picture = sample(random.Random(seed))
        if isinstance(picture.place, Backdrop):
            assert picture.place.color not in {thing.color for thing in picture.things}


def test_a_caption_names_the_left_and_the_right_thing() -> None:
    things = (Thing("cat", "red"), Thing("house", "blue"))
    picture = Picture("plain", Backdrop("white"), things, "beside")
    texts = {caption(picture, random.Random(seed)).text for seed in range(400)}
    assert any("red cat left of" in text for text in texts)
    assert any("right of a red" in text for text in texts)
    assert not any("blue house left of" in text or "red cat right of" in text for text in texts)


def test_what_a_caption_leaves_out_is_called_silent() -> None:
    thing = Thing("house", "black", named=False)
    picture = Picture("plain", Backdrop("white"), (thing,))
    for seed in range(50):
        text = caption(picture, random.Random(seed))
        assert "first color" in text.silent
        assert "black" not in text.text
