"""Labels of pictures as tensors, for training the text encoder and the judge."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from training.drawing.vocabulary import (
    COLORLESS,
    COLORS,
    EXTRAS,
    KINDS,
    PAIRS,
    POSITIONS,
    SCENES,
    SEASONS,
    SIZES,
    STYLES,
    TIMES,
    WEATHERS,
    Backdrop,
    Picture,
)

# Things are labelled in their order, from left to right or from top to bottom.
SLOTS: Final = ("first", "second")
CLASSES: Final[dict[str, tuple[str, ...]]] = {
    "place": ("backdrop", "scene"),
    "style": STYLES,
    "things": ("0", "1", "2"),
    "layout": (*POSITIONS, *PAIRS),
    **dict.fromkeys(SLOTS, KINDS),
    **{f"{slot} color": tuple(COLORS) for slot in SLOTS},
    "background": tuple(COLORS),
    "size": SIZES,
    "scene": SCENES,
    "time": TIMES,
    "weather": WEATHERS,
    "season": SEASONS,
}
IGNORED: Final = -100
NEEDS_COLOR: Final = ("first color", "second color", "background", "time", "season")


def answers(picture: Picture) -> dict[str, str]:
    """Returns the class of each attribute that the picture has."""
    things = {
        name: value
        for slot, thing in zip(SLOTS, picture.things, strict=False)
        for name, value in ((slot, thing.kind), (f"{slot} color", thing.color))
    }
    shown = {"style": picture.style, "things": str(len(picture.things)), **things}
    if picture.things:
        shown["layout"] = picture.layout
    place = picture.place
    if isinstance(place, Backdrop):
        return shown | {"place": "backdrop", "background": place.color, "size": place.size}
    return shown | {
        "place": "scene",
        "scene": place.scene,
        "time": place.time,
        "weather": place.weather,
        "season": place.season,
    }


def extras(picture: Picture) -> frozenset[str]:
    """Returns the extras of a scene; a backdrop has none."""
    return frozenset() if isinstance(picture.place, Backdrop) else picture.place.extras


@dataclass(frozen=True)
class Labels:
    """`classes`: int64 of shape (N, attributes), IGNORED where there is no label.

    `extras`: float of shape (N, extras).
    """

    classes: Tensor
    extras: Tensor

    def to(self, device: torch.device) -> Labels:
        return Labels(self.classes.to(device), self.extras.to(device))


def labels(pictures: Collection[Picture], silent: Collection[Collection[str]]) -> Labels:
    """Returns the labels of pictures; attributes in `silent` are IGNORED."""
    classes, present = [], []
    for picture, omitted in zip(pictures, silent, strict=True):
        labelled = {name: value for name, value in answers(picture).items() if name not in omitted}
        classes.append([CLASSES[name].index(labelled[name]) if name in labelled else IGNORED for name in CLASSES])
        present.append([float(extra in extras(picture)) for extra in EXTRAS])
    return Labels(torch.tensor(classes), torch.tensor(present))


def list_invisible_attributes(picture: Picture) -> Collection[str]:
    """Returns the attributes that cannot be seen in the picture: a line drawing has no colours."""
    return NEEDS_COLOR if picture.style in COLORLESS else ()
