"""Words for what a picture shows. Words that are more common are listed more often."""

from __future__ import annotations

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
FIGURE_WORDS = {
    "cat": ("cat", "cat", "cat", "kitten", "kitty"),
    "dog": ("dog", "dog", "dog", "puppy"),
    "rabbit": ("rabbit", "rabbit", "bunny", "hare"),
    "sheep": ("sheep", "sheep", "lamb"),
    "owl": ("owl",),
    "duck": ("duck", "duck", "duckling"),
    "fish": ("fish", "fish", "goldfish"),
    "butterfly": ("butterfly", "butterfly", "moth"),
    "car": ("car", "car", "car", "automobile", "toy car"),
    "bus": ("bus", "bus", "coach", "school bus"),
    "boat": ("boat", "boat", "boat", "sailing boat", "sailboat", "ship"),
    "airplane": ("airplane", "airplane", "plane", "aeroplane", "aircraft"),
    "rocket": ("rocket", "rocket", "spaceship", "space rocket"),
    "balloon": ("balloon", "hot air balloon", "hot air balloon"),
    "house": ("house", "house", "house", "cottage", "cabin", "hut"),
    "tree": ("tree", "tree", "tree", "oak"),
    "flower": ("flower", "flower", "daisy", "blossom"),
    "mushroom": ("mushroom", "mushroom", "toadstool"),
    "apple": ("apple",),
    "umbrella": ("umbrella", "umbrella", "parasol"),
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
    "beach": ("a beach", "a beach", "the beach", "a sandy beach", "the seaside", "a shore with palms"),
    "desert": ("a desert", "a desert", "the desert", "sand dunes", "desert dunes"),
    "forest": ("a forest", "a forest", "the forest", "the woods", "a pine forest", "woodland"),
    "hills": ("hills", "hills", "rolling hills", "a meadow", "the countryside", "fields"),
    "city": ("a city", "a city", "the city", "a city skyline", "skyscrapers", "a town", "tall buildings"),
}
TIME_WORDS = {
    "sunrise": ("sunrise", "sunrise", "dawn", "morning", "early morning"),
    "day": ("day", "daytime", "noon", "midday"),
    "sunset": ("sunset", "sunset", "dusk", "evening", "twilight"),
    "night": ("night", "night", "night", "midnight", "nighttime"),
}
WEATHER_WORDS = {
    "clear": ("",),
    "rain": ("in the rain", "in the rain", "with rain", "rain", "on a rainy day", "rainy weather", "during a shower"),
    "snow": ("falling snow", "snowfall", "with falling snow", "while it snows", "in snowfall", "snowing"),
    "fog": ("in the fog", "in fog", "fog", "with mist", "on a foggy day", "in the mist", "foggy weather"),
    "storm": ("in a storm", "in a thunderstorm", "with lightning", "a storm", "thunderstorm", "stormy weather"),
}
WEATHER_ADJECTIVES = {
    "rain": ("rainy",), "snow": ("snowy",), "fog": ("foggy", "misty"), "storm": ("stormy",),
}  # fmt: skip
SEASON_WORDS = {
    "summer": ("", "", "", "", "in summer", "summer"),
    "spring": ("in spring", "in spring", "spring", "in springtime", "in blossom", "in the spring"),
    "autumn": ("in autumn", "in autumn", "autumn", "in the fall", "with autumn leaves", "in fall"),
    "winter": ("in winter", "in winter", "winter", "covered in snow", "in the winter", "with snow"),
}
SEASON_ADJECTIVES = {
    "spring": ("spring", "blossoming"), "autumn": ("autumn", "autumnal"), "winter": ("winter", "snowy", "snow-covered"),
}  # fmt: skip
EXTRA_WORDS = {
    "moon": ("the moon", "a moon", "a full moon", "a bright moon"),
    "sun": ("the sun", "a sun", "a bright sun"),
    "stars": ("stars", "stars", "a starry sky", "many stars"),
    "clouds": ("clouds", "clouds", "some clouds", "a cloudy sky"),
    "rainbow": ("a rainbow",),
    "birds": ("birds", "birds", "flying birds", "some birds", "a flock of birds"),
    "trees": ("trees", "trees", "some trees", "a few trees"),
    "flowers": ("flowers", "flowers", "some flowers", "many flowers", "wildflowers"),
}
BESIDE = (
    "{first} left of {second}", "{first} left of {second}", "{second} right of {first}", "{second} right of {first}",
    "{first} to the left of {second}", "{second} to the right of {first}", "{first} next to {second}",
    "{first} on the left and {second} on the right", "{second} on the right, {first} on the left",
    "{first} on the left side, {second} on the right side", "{first} beside {second}", "{first} and {second}",
    "{first} and {second} side by side",
)  # fmt: skip
ABOVE = (
    "{first} above {second}", "{first} above {second}", "{second} below {first}", "{second} below {first}",
    "{first} over {second}", "{second} under {first}", "{second} beneath {first}",
    "{first} at the top and {second} at the bottom", "{second} at the bottom, {first} at the top",
)  # fmt: skip
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
    "oil painting": (
        "{}, oil painting", "{}, oil painting", "an oil painting of {}", "oil painting, {}", "{}, oil on canvas",
        "{}, impressionist painting", "{}, thick brush strokes",
    ),
    "comic": (
        "{}, comic", "{}, comic style", "a comic of {}", "comic, {}", "{}, comic book style", "{}, pop art",
        "{}, cartoon with halftone dots", "a comic panel of {}",
    ),
    "pastel": (
        "{}, pastel", "{}, pastel", "a pastel drawing of {}", "pastel, {}", "{}, soft pastels", "{}, chalk drawing",
        "a chalk drawing of {}", "{} in pastel",
    ),
    "mosaic": (
        "{}, mosaic", "{}, mosaic", "a mosaic of {}", "mosaic, {}", "{} as a mosaic", "{}, mosaic tiles",
        "{}, made of tiles", "{}, stained glass",
    ),
    "blueprint": (
        "{}, blueprint", "{}, blueprint", "a blueprint of {}", "blueprint, {}", "{} as a blueprint",
        "{}, technical drawing", "{}, white lines on blue paper",
    ),
}  # fmt: skip
PRAISE = (
    "beautiful", "high quality", "highly detailed", "4k", "masterpiece", "nice", "cute", "artwork", "simple",
    "best quality", "digital art", "colorful", "trending", "peaceful", "dramatic", "pretty", "cinematic", "8k",
)  # fmt: skip
ELSEWHERE = (
    "person", "horse", "robot", "castle", "river", "bridge", "dragon", "portrait", "astronaut", "wooden", "old",
    "modern", "epic", "soft", "light", "view", "very", "lonely", "happy", "warm", "blurry", "ugly", "low quality",
    "text", "watermark", "vintage", "fantasy", "space", "realistic", "abstract",
)  # fmt: skip
