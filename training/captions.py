"""Captions as people might type them: synonyms, free word order, and words that the model does not know."""

from __future__ import annotations

import random
from dataclasses import dataclass

from training.drawing.vocabulary import SHAPES, Backdrop, Picture, Scene, Thing
from training.synonyms import (
    ABOVE,
    BESIDE,
    COLOR_WORDS,
    ELSEWHERE,
    EXTRA_WORDS,
    FIGURE_WORDS,
    POSITION_WORDS,
    PRAISE,
    SCENE_WORDS,
    SEASON_ADJECTIVES,
    SEASON_WORDS,
    SHAPE_WORDS,
    SIZE_WORDS,
    STYLE_FRAMES,
    TIME_WORDS,
    WEATHER_ADJECTIVES,
    WEATHER_WORDS,
)

SLOTS = ("first", "second")


@dataclass(frozen=True)
class Caption:
    """`silent` names attributes that the picture shows and the text leaves out, such as "background" or "time"."""

    text: str
    silent: frozenset[str]


def caption(picture: Picture, rng: random.Random) -> Caption:
    """Returns a random caption of a picture."""
    silent: set[str] = set()
    place = picture.place
    if isinstance(place, Backdrop):
        words = backdrop_words(picture, place, silent, rng)
    else:
        words = scene_words(picture, place, silent, rng)
    text = rng.choice(STYLE_FRAMES[picture.style]).format(words)
    if rng.random() < 0.2:
        praise = ", ".join(rng.sample(PRAISE, rng.choice((1, 1, 2, 3))))
        text = rng.choice((f"{text}, {praise}", f"{text}, {praise}", f"{praise}, {text}"))
    if rng.random() < 0.1:
        text = with_stray_word(text, rng)
    return Caption(text, frozenset(silent))


def with_stray_word(text: str, rng: random.Random) -> str:
    """Inserts a word at random that means nothing to the model."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    stray = rng.choice((rng.choice(ELSEWHERE), "".join(rng.choice(letters) for _ in range(rng.randint(3, 8)))))
    words = text.split(" ")
    words.insert(rng.randint(0, len(words)), stray)
    return " ".join(words)


def article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def join_words(*words: str) -> str:
    """Joins words with single spaces, and none before a comma."""
    return " ".join(" ".join(words).split()).replace(" ,", ",").removeprefix(", ")


def thing_words(thing: Thing, slot: str, silent: set[str], rng: random.Random, size: str = "") -> str:
    """Returns a thing with an article. Its usual colour is mostly left out, and then is not part of the labels."""
    color = rng.choice(COLOR_WORDS[thing.color]) if thing.named else ""
    if not color or rng.random() < 0.03:
        color = ""
        silent.add(f"{slot} color")
    names = SHAPE_WORDS if thing.kind in SHAPES else FIGURE_WORDS
    return article(join_words(size, color, rng.choice(names[thing.kind])))


def things_words(picture: Picture, silent: set[str], rng: random.Random, size: str = "") -> str:
    """Returns one thing, or two with their relation."""
    phrases = [thing_words(thing, slot, silent, rng, size) for thing, slot in zip(picture.things, SLOTS, strict=False)]
    if len(phrases) == 1:
        return phrases[0]
    first, second = phrases
    return rng.choice(BESIDE if picture.layout == "beside" else ABOVE).format(first=first, second=second)


def backdrop_words(picture: Picture, place: Backdrop, silent: set[str], rng: random.Random) -> str:
    thing = things_words(picture, silent, rng, rng.choice(SIZE_WORDS[place.size]))
    where = rng.choice(POSITION_WORDS[picture.layout]) if len(picture.things) == 1 else ""
    if len(picture.things) == 1 and rng.random() < 0.33:
        thing = thing.removeprefix("a ").removeprefix("an ")
    background = rng.choice(COLOR_WORDS[place.color])
    if rng.random() < 0.06:
        silent.add("background")
        return join_words(thing, where)
    frame = rng.choice((
        "{thing} {where} on {a_background} background",
        "{thing} on {a_background} background {where}",
        "{thing} {where}, {background} background",
        "{thing} {where} in front of {a_background} background",
        "{background} background, {thing} {where}",
        "{background} background with {thing} {where}",
        "{thing} {where} on {background}",
        "on {a_background} background {thing} {where}",
    ))  # fmt: skip
    return join_words(frame.format(thing=thing, where=where, background=background, a_background=article(background)))


def scene_words(picture: Picture, place: Scene, silent: set[str], rng: random.Random) -> str:
    where = rng.choice(SCENE_WORDS[place.scene])
    time = rng.choice(TIME_WORDS[place.time])
    if place.time == "day" and rng.random() < 0.5:
        time = ""
    elif rng.random() < 0.03:
        time = ""
        silent.add("time")
    weather, season = rng.choice(WEATHER_WORDS[place.weather]), rng.choice(SEASON_WORDS[place.season])
    if (place.extras or picture.things) and rng.random() < 0.04:
        where = ""
        silent.add("scene")
    elif weather and rng.random() < 0.4:
        where, weather = add_adjective(where, rng.choice(WEATHER_ADJECTIVES[place.weather])), ""
    elif season and place.season in SEASON_ADJECTIVES and rng.random() < 0.4:
        where, season = add_adjective(where, rng.choice(SEASON_ADJECTIVES[place.season])), ""
    if place.weather == "snow" and rng.random() < 0.6:
        season = ""
    if "snow" in where + season and not weather:
        silent.add("weather")  # The snow may be on the ground or falling.
    things = [rng.choice(EXTRA_WORDS[extra]) for extra in sorted(place.extras)]
    rng.shuffle(things)
    if picture.things:
        figures = things_words(picture, silent, rng)
        if len(picture.things) == 1:
            figures = join_words(figures, in_scene_position(picture.layout, silent, rng))
        things.insert(rng.randint(0, len(things)), figures)
    return arrange_phrases(where, [part for part in (time_words(time, rng), season, weather) if part], things, rng)


def in_scene_position(layout: str, silent: set[str], rng: random.Random) -> str:
    if rng.random() < 0.4:
        silent.add("layout")
        return ""
    return rng.choice(POSITION_WORDS[layout])


def add_adjective(where: str, adjective: str) -> str:
    for start in ("a ", "an ", "the "):
        if where.startswith(start):
            rest = join_words(adjective, where.removeprefix(start))
            return join_words("the", rest) if start == "the " else article(rest)
    return join_words(adjective, where)


def time_words(time: str, rng: random.Random) -> str:
    return rng.choice((f"at {time}", f"at {time}", f"in the {time}", f"during {time}", time)) if time else ""


def arrange_phrases(where: str, when: list[str], things: list[str], rng: random.Random) -> str:
    """Returns one sentence, or a list of tags."""
    rng.shuffle(when)
    if rng.random() < 0.25:
        tags = [part.removeprefix("a ").removeprefix("the ") for part in (where, *when, *things) if part]
        rng.shuffle(tags)
        return ", ".join(tags)
    if not where:
        return join_words(join_list(things), *when)
    if things and rng.random() < 0.45:
        near = rng.choice(("on", "in", "over", "near", "by", "at", "in front of")) + " " + where
        return join_words(join_list(things), near, *(f"{rng.choice(('', '', ','))} {part}" for part in when))
    start = join_words(where, *(f"{rng.choice(('', '', ','))} {part}" for part in when))
    return start + rng.choice((" with ", " with ", ", ", " and ")) + join_list(things) if things else start


def join_list(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
