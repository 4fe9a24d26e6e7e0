"""What a picture shows, as numbers: the answers for the text encoder's lessons and for the judge."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from training.drawing import Picture, ScenePicture, ShapePicture
from training.drawing.vocabulary import COLORS, EXTRAS, PAINTED, POSITIONS, SCENES, SHAPES, SIZES, STYLES, TIMES

KINDS: Final = ("scene", "shape")
CLASSES: Final[dict[str, tuple[str, ...]]] = {
    "kind": KINDS,
    "style": STYLES,
    "shape": SHAPES,
    "color": tuple(COLORS),
    "background": tuple(COLORS),
    "size": SIZES,
    "position": POSITIONS,
    "scene": SCENES,
    "time": TIMES,
    **{extra: tuple(COLORS) for extra in PAINTED},
}
IGNORED: Final = -100
NEEDS_COLOR: Final = ("color", "background", "time", *PAINTED)


def answers(picture: Picture) -> dict[str, str]:
    """The class of each attribute that the picture has."""
    if isinstance(picture, ShapePicture):
        return {
            "kind": "shape",
            "style": picture.style,
            "shape": picture.shape,
            "color": picture.color,
            "background": picture.background,
            "size": picture.size,
            "position": picture.position,
        }
    return {
        "kind": "scene",
        "style": picture.style,
        "scene": picture.scene,
        "time": picture.time,
        **dict(picture.colors),
    }


@dataclass(frozen=True)
class Labels:
    """`classes`: int64 of shape (N, attributes), IGNORED where there is none. `extras`: float of shape (N, extras)."""

    classes: Tensor
    extras: Tensor


def labels(pictures: Collection[Picture], silent: Collection[Collection[str]]) -> Labels:
    classes, extras = [], []
    for picture, unsaid in zip(pictures, silent, strict=True):
        given = {name: value for name, value in answers(picture).items() if name not in unsaid}
        classes.append([CLASSES[name].index(given[name]) if name in given else IGNORED for name in CLASSES])
        has = picture.extras if isinstance(picture, ScenePicture) else frozenset[str]()
        extras.append([float(extra in has) for extra in EXTRAS])
    return Labels(torch.tensor(classes), torch.tensor(extras))


def visible(picture: Picture) -> Labels:
    """What can be seen in one picture: a line drawing has no colours."""
    return labels([picture], [NEEDS_COLOR if picture.style == "line drawing" else ()])
