r"""Prompts as they are written: words that weigh more or less, and parts that a text encoder can hear.

Brackets mean what they mean in AUTOMATIC1111's web UI: (a) weighs 1.1, (a:1.3) weighs 1.3, [a] weighs 1 / 1.1, and
they nest; \( \) \[ \] \\ are plain characters. A bracket that is never closed reaches to the end of the prompt, one
that was never opened is a plain character.

A weight w moves what a token says away from what an empty prompt says in its place: empty + w * (token - empty), as
in ComfyUI. The web UI multiplies, and then restores the mean of all numbers; a text encoder whose numbers have a mean
near zero would be thrown anywhere by that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from torch import Tensor

ROUND, SQUARE = 1.1, 1 / 1.1
# Beyond this a picture is ruined anyway, and numbers may overflow.
HEAVIEST = 10.0
# A part of a long prompt ends after a comma, if there is one among its last tokens. The web UI's figure.
NEAR_THE_END = 20
PIECE = re.compile(r"\\[()\[\]\\]|[()\[\]]|:\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[^\\()\[\]:]+|[\\:]")


class Weighted(NamedTuple):
    text: str
    weight: float


class Token(NamedTuple):
    """`vector` is what to hear in place of the token, of shape (width,)."""

    id: int
    weight: float
    vector: Tensor | None = None


def weighted(prompt: str) -> list[Weighted]:
    """The prompt without its brackets, in stretches of one weight each."""
    texts: list[str] = []
    weights: list[float] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def close(bracket: str, factor: float) -> None:
        start = opened[bracket].pop()
        weights[start:] = [max(-HEAVIEST, min(weight * factor, HEAVIEST)) for weight in weights[start:]]

    for match in PIECE.finditer(prompt):
        piece, weight = match[0], match["weight"]
        if piece in opened:
            opened[piece].append(len(texts))
        elif opened["("] and weight is not None:
            close("(", float(weight))
        elif opened["("] and piece == ")":
            close("(", ROUND)
        elif opened["["] and piece == "]":
            close("[", SQUARE)
        else:
            texts.append(piece[1:] if len(piece) == 2 and piece[0] == "\\" else piece)
            weights.append(1.0)
    for bracket, factor in (("(", ROUND), ("[", SQUARE)):
        while opened[bracket]:
            close(bracket, factor)
    return merged(texts, weights)


def merged(texts: Sequence[str], weights: Sequence[float]) -> list[Weighted]:
    """Neighbours of the same weight become one: the tokenizer must see whole words."""
    stretches = groupby(zip(texts, weights, strict=True), key=lambda pair: pair[1])
    return [Weighted("".join(text for text, _ in pairs), weight) for weight, pairs in stretches]


def parts(tokens: list[Token], size: int, comma: int) -> list[list[Token]]:
    """The tokens in parts of at most `size`, which rather end after a comma than between two words; at least one."""
    result = []
    while len(tokens) > size:
        near = range(size - 1, max(size - NEAR_THE_END, 0) - 1, -1)
        end = next((place + 1 for place in near if tokens[place].id == comma), size)
        result.append(tokens[:end])
        tokens = tokens[end:]
    return [*result, tokens]
