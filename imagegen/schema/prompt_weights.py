r"""Prompt weighting: brackets that change the weight of words, and chunks that fit a text encoder. Needs no torch.

Brackets have the syntax of AUTOMATIC1111's web UI: (a) has the weight 1.1, (a:1.3) 1.3, [a] 1 / 1.1, and they nest;
\( \) \[ \] \\ are plain characters. A bracket that is never closed extends to the end of the prompt; a closing bracket
without an opening one is a plain character.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from pydantic import Field

from imagegen.schema.base import FrozenModel

ROUND_BRACKET_WEIGHT, SQUARE_BRACKET_WEIGHT = 1.1, 1 / 1.1
# Larger weights give no usable picture, and values may overflow.
MAX_WEIGHT = 10.0
# A chunk ends after a comma if there is one among its last tokens. The web UI's value.
COMMA_SEARCH_TOKENS = 20
PROMPT_PIECE = re.compile(r"\\[()\[\]\\]|[()\[\]]|:\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[^\\()\[\]:]+|[\\:]")


class WeightedText(NamedTuple):
    """A part of a prompt and the weight of its tokens."""

    text: str
    weight: float


class PromptLength(FrozenModel):
    """The length of a prompt for a model.

    A model with a CLIP text encoder reads a prompt in chunks of 75 tokens; others refuse a prompt beyond their limit.
    """

    tokens: int = Field(description="Tokens of the prompt.")
    limit: int = Field(
        description="How many tokens the model accepts, or how many fit into the chunks that the prompt takes."
    )
    chunks: int = Field(1, description="How many chunks of 75 tokens a CLIP text encoder reads.")


def parse_weights(prompt: str) -> list[WeightedText]:
    """Parses a prompt into texts without brackets, each with its weight."""
    texts: list[str] = []
    weights: list[float] = []
    open_brackets: dict[str, list[int]] = {"(": [], "[": []}

    def close(bracket: str, factor: float) -> None:
        start = open_brackets[bracket].pop()
        weights[start:] = [max(-MAX_WEIGHT, min(weight * factor, MAX_WEIGHT)) for weight in weights[start:]]

    for match in PROMPT_PIECE.finditer(prompt):
        piece, weight = match[0], match["weight"]
        if piece in open_brackets:
            open_brackets[piece].append(len(texts))
        elif open_brackets["("] and weight is not None:
            close("(", float(weight))
        elif open_brackets["("] and piece == ")":
            close("(", ROUND_BRACKET_WEIGHT)
        elif open_brackets["["] and piece == "]":
            close("[", SQUARE_BRACKET_WEIGHT)
        else:
            texts.append(piece[1:] if len(piece) == 2 and piece[0] == "\\" else piece)
            weights.append(1.0)
    for bracket, factor in (("(", ROUND_BRACKET_WEIGHT), ("[", SQUARE_BRACKET_WEIGHT)):
        while open_brackets[bracket]:
            close(bracket, factor)
    return merge_equal_weights(texts, weights)


def merge_equal_weights(texts: Sequence[str], weights: Sequence[float]) -> list[WeightedText]:
    """Joins neighbours of equal weight, because the tokenizer must see whole words."""
    stretches = groupby(zip(texts, weights, strict=True), key=lambda pair: pair[1])
    return [WeightedText("".join(text for text, _ in pairs), weight) for weight, pairs in stretches]


def measure_chunks(token_ids: Sequence[int], max_tokens: int, comma: int) -> list[int]:
    """Returns the lengths of the chunks of a prompt: at least one, each of at most `max_tokens` tokens.

    A chunk ends after a comma, whose token id is `comma`, if there is one among its last tokens.
    """
    lengths, start = [], 0
    while len(token_ids) - start > max_tokens:
        candidates = range(max_tokens - 1, max(max_tokens - COMMA_SEARCH_TOKENS, 0) - 1, -1)
        length = next((place + 1 for place in candidates if token_ids[start + place] == comma), max_tokens)
        lengths.append(length)
        start += length
    return [*lengths, len(token_ids) - start]
