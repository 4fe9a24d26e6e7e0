"""What people might type to get a picture: synonyms, free word order, and words that mean nothing to the model."""

from __future__ import annotations

import random
from dataclasses import dataclass

from training.drawing import Picture, ScenePicture, ShapePicture

COLOR_WORDS = {
    "red": ("red", "red", "red", "crimson", "scarlet"),
    "orange": ("orange", "orange", "orange", "tangerine"),
    "yellow": ("yellow", "yellow", "yellow", "golden"),
    "green": ("green", "green", "green", "emerald"),
    "blue": ("blue", "blue", "blue", "azure"),
    "purple": ("purple", "purple", "purple", "violet"),
    "pink": ("pink", "pink", "pink", "rose"),
    "brown": ("brown", "brown", "brown", "chocolate"),
    "black": ("black",),
    "white": ("white",),
    "gray": ("gray", "grey"),
    "cyan": ("cyan", "cyan", "turquoise", "teal", "aqua"),
}
SHAPE_WORDS = {
    "circle": ("circle", "circle", "circle", "disc", "disk", "ball", "dot"),
    "square": ("square", "square", "square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "heart": ("heart", "heart", "love heart"),
    "ring": ("ring", "ring", "ring", "donut", "hoop"),
    "crescent": ("crescent", "crescent shape"),
    "diamond": ("diamond", "diamond", "rhombus"),
    "cross": ("cross", "cross", "plus sign"),
    "hexagon": ("hexagon",),
}
SIZE_WORDS = {
    "small": ("small", "small", "tiny", "little"),
    "medium": ("", "", "", "", "medium", "medium sized"),
    "large": ("large", "big", "huge", "giant"),
}
POSITION_WORDS = {
    "center": ("", "", "", "", "in the center", "in the middle", "centered"),
    "left": ("on the left", "on the left", "on the left side", "at the left"),
    "right": ("on the right", "on the right", "on the right side", "at the right"),
    "top": ("at the top", "at the top", "near the top", "in the upper part"),
    "bottom": ("at the bottom", "at the bottom", "near the bottom", "in the lower part"),
}
SCENE_WORDS = {
    "mountains": ("mountains", "mountains", "a mountain", "a mountain range", "mountain peaks", "the mountains"),
    "sea": ("the sea", "the sea", "the ocean", "a calm sea", "a sea", "an ocean"),
    "lake": ("a lake", "a lake", "the lake", "a mountain lake", "a quiet lake", "a pond"),
    "desert": ("a desert", "a desert", "the desert", "sand dunes", "desert dunes"),
    "forest": ("a forest", "a forest", "the forest", "the woods", "a pine forest", "a dark forest"),
    "hills": ("hills", "hills", "rolling hills", "green hills", "a meadow", "the countryside", "grassy hills"),
    "city": ("a city", "a city", "the city", "a city skyline", "skyscrapers", "a town", "tall buildings"),
}
TIME_WORDS = {
    "sunrise": ("sunrise", "sunrise", "dawn", "morning", "early morning"),
    "day": ("day", "daytime", "noon", "midday"),
    "sunset": ("sunset", "sunset", "dusk", "evening", "twilight"),
    "night": ("night", "night", "night", "midnight", "nighttime"),
}
EXTRA_WORDS = {
    "moon": ("the moon", "a moon", "a full moon", "a bright moon"),
    "sun": ("the sun", "a sun", "a bright sun"),
    "house": ("{} house", "{} house", "{} cottage", "{} cabin", "{} hut"),
    "boat": ("{} boat", "{} boat", "{} sailing boat", "{} sailboat", "{} ship"),
    "trees": ("trees", "trees", "some trees", "a few trees"),
    "birds": ("birds", "birds", "flying birds", "some birds", "a flock of birds"),
    "clouds": ("clouds", "clouds", "some clouds", "a cloudy sky"),
    "stars": ("stars", "stars", "a starry sky", "many stars"),
    "balloon": ("{} balloon", "{} hot air balloon"),
    "rainbow": ("a rainbow",),
    "snow": ("snow", "falling snow", "snowfall"),
}
STYLE_FRAMES = {
    "plain": ("{}",) * 12
    + ("a picture of {}", "an image of {}", "a drawing of {}", "{}, illustration", "{}, flat colors", "a photo of {}"),
    "watercolor": (
        "{}, watercolor", "{}, watercolor", "watercolor of {}", "a watercolor painting of {}", "{} in watercolor style",
        "watercolor, {}", "{}, watercolour", "{}, aquarelle", "watercolor painting, {}",
    ),
    "pixel art": (
        "{}, pixel art", "{}, pixel art", "pixel art of {}", "pixel art, {}", "{} in pixel art style",
        "{}, 8-bit pixel art", "a pixelated picture of {}", "{}, pixelated",
    ),
    "line drawing": (
        "{}, line drawing", "{}, line drawing", "a line drawing of {}", "line drawing, {}", "{}, sketch",
        "a pencil sketch of {}", "{}, line art", "{}, black and white ink drawing", "an ink drawing of {}",
    ),
}  # fmt: skip
PRAISE = (
    "beautiful", "high quality", "highly detailed", "4k", "masterpiece", "nice", "cute", "artwork", "simple",
    "best quality", "digital art", "colorful", "trending", "peaceful", "dramatic", "pretty", "cinematic", "8k",
)  # fmt: skip
ELSEWHERE = (
    "person", "cat", "dog", "horse", "car", "robot", "castle", "flower", "river", "bridge", "dragon", "portrait",
    "astronaut", "wooden", "old", "modern", "epic", "soft", "light", "view", "very", "lonely", "happy", "warm",
    "blurry", "ugly", "low quality", "text", "watermark", "vintage", "fantasy", "space", "realistic", "abstract",
)  # fmt: skip


@dataclass(frozen=True)
class Caption:
    """`silent` names what the picture shows and the text does not say, such as "background" or "time"."""

    text: str
    silent: frozenset[str]


def caption(picture: Picture, rng: random.Random) -> Caption:
    silent: set[str] = set()
    words = (
        shape_words(picture, silent, rng) if isinstance(picture, ShapePicture) else scene_words(picture, silent, rng)
    )
    text = rng.choice(STYLE_FRAMES[picture.style]).format(words)
    if rng.random() < 0.2:
        praise = ", ".join(rng.sample(PRAISE, rng.choice((1, 1, 2, 3))))
        text = rng.choice((f"{text}, {praise}", f"{text}, {praise}", f"{praise}, {text}"))
    if rng.random() < 0.1:
        text = with_stray_word(text, rng)
    return Caption(text, frozenset(silent))


def with_stray_word(text: str, rng: random.Random) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"
    stray = rng.choice((rng.choice(ELSEWHERE), "".join(rng.choice(letters) for _ in range(rng.randint(3, 8)))))
    words = text.split(" ")
    words.insert(rng.randint(0, len(words)), stray)
    return " ".join(words)


def article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def joined(*words: str) -> str:
    return " ".join(word for word in words if word)


def shape_words(picture: ShapePicture, silent: set[str], rng: random.Random) -> str:
    color = rng.choice(COLOR_WORDS[picture.color])
    if rng.random() < 0.03:
        color = ""
        silent.add("color")
    thing = joined(rng.choice(SIZE_WORDS[picture.size]), color, rng.choice(SHAPE_WORDS[picture.shape]))
    thing = rng.choice((article(thing), article(thing), thing))
    place = rng.choice(POSITION_WORDS[picture.position])
    background = rng.choice(COLOR_WORDS[picture.background])
    if rng.random() < 0.06:
        silent.add("background")
        return joined(thing, place)
    frame = rng.choice((
        "{thing} {place} on {a_background} background",
        "{thing} on {a_background} background {place}",
        "{thing} {place}, {background} background",
        "{thing} {place} in front of {a_background} background",
        "{background} background, {thing} {place}",
        "{background} background with {thing} {place}",
        "{thing} {place} on {background}",
        "on {a_background} background {thing} {place}",
    ))  # fmt: skip
    words = frame.format(thing=thing, place=place, background=background, a_background=article(background))
    return joined(*words.split()).replace(" ,", ",")


def scene_words(picture: ScenePicture, silent: set[str], rng: random.Random) -> str:
    scene, time = rng.choice(SCENE_WORDS[picture.scene]), rng.choice(TIME_WORDS[picture.time])
    extras = [extra_words(extra, picture, silent, rng) for extra in sorted(picture.extras - {"snow"})]
    rng.shuffle(extras)
    snowy = "snow" in picture.extras
    if snowy and rng.random() < 0.5:
        scene = scene.replace("a ", "a snowy ", 1) if scene.startswith("a ") else f"snowy {scene.removeprefix('the ')}"
    elif snowy:
        extras.insert(rng.randint(0, len(extras)), rng.choice(EXTRA_WORDS["snow"]))
    if picture.time == "day" and rng.random() < 0.5:
        time = ""
    elif rng.random() < 0.03:
        time = ""
        silent.add("time")
    if extras and rng.random() < 0.04:
        scene = ""
        silent.add("scene")
    return arranged(scene, time, extras, rng)


def extra_words(extra: str, picture: ScenePicture, silent: set[str], rng: random.Random) -> str:
    words = rng.choice(EXTRA_WORDS[extra])
    if "{}" not in words:
        return words
    color = picture.color_of(extra)
    if color is None:
        silent.add(extra)
    return article(words.format(rng.choice(COLOR_WORDS[color]) if color else "").strip())


def arranged(scene: str, time: str, extras: list[str], rng: random.Random) -> str:
    """One sentence, or a list of tags."""
    if rng.random() < 0.25:
        tags = [part.removeprefix("a ").removeprefix("the ") for part in (scene, time, *extras) if part]
        rng.shuffle(tags)
        return ", ".join(tags)
    when = rng.choice((f"at {time}", f"at {time}", f"in the {time}", f"during {time}", f", {time}")) if time else ""
    if not scene:
        return joined(listed(extras), when).replace(" ,", ",")
    if extras and rng.random() < 0.4:
        where = rng.choice(("on", "in", "over", "near", "by", "at")) + " " + scene
        return joined(listed(extras), where, when).replace(" ,", ",")
    if time and rng.random() < 0.3:
        start = rng.choice((f"{time} over {scene}", f"{time} in {scene}", f"{time}, {scene}"))
    else:
        start = joined(scene, when).replace(" ,", ",")
    return start + rng.choice((" with ", " with ", ", ", " and ")) + listed(extras) if extras else start


def listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
