r"""Prompt weighting: brackets that change the weight of words, and chunks that fit a text encoder. Needs no torch.

Brackets have the syntax of AUTOMATIC1111's web UI: (a) has the weight 1.1, (a:1.3) 1.3, [a] 1 / 1.1, and they nest;
\( \) \[ \] \\ are plain characters. A bracket that is never closed extends to the end of the prompt; a closing bracket
without an opening one is a plain character. The word BREAK, in capitals, begins a new section.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from pydantic import Field

from imagegen.schema.base import FrozenModel

ROUND_BRACKET_WEIGHT, SQUARE_BRACKET_WEIGHT = 1.1, 1 / 1.1
# Larger weights give no usable picture, and values may overflow.
MAX_WEIGHT = 10.0
# Tokens of a chunk of a CLIP text encoder, without the one at its start and the one at its end.
CHUNK_TOKENS = 75
# A chunk ends after a comma if there is one among its last tokens. The web UI's value.
COMMA_SEARCH_TOKENS = 20
BREAK_PATTERN = re.compile(r"\s*\bBREAK\b\s*")
PROMPT_PIECE = re.compile(r"\\[()\[\]\\]|[()\[\]]|:\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[^\\()\[\]:]+|[\\:]")


class WeightedText(NamedTuple):
    """A part of a prompt and the weight of its tokens."""

    text: str
    weight: float


class PromptLength(FrozenModel):
    """The length of a prompt for a model.

    A model with a CLIP text encoder reads a prompt in parts of 75 tokens; others refuse a prompt beyond their limit.
    """

    tokens: int = Field(description="Tokens of the prompt.")
    limit: int = Field(
        description="How many tokens the model accepts, or how many fit into the parts that the prompt takes."
    )
    parts: int = Field(1, description="How many parts of 75 tokens a CLIP text encoder reads.")
    has_choices: bool = Field(
        False, description="Whether the prompt has wildcards or other choices: another seed may give another length."
    )


class TokenGroup(NamedTuple):
    """Tokens that stay in one chunk: one, or all the vectors of a textual inversion."""

    length: int = 1
    is_comma: bool = False


def parse_sections(prompt: str) -> list[list[WeightedText]]:
    """Parses a prompt into its sections, at least one, and each into texts without brackets with their weights.

    A section that another one follows may be empty, as in the web UI.
    """
    texts: list[str] = []
    weights: list[float] = []
    breaks: list[int] = []  # Where in `texts` a new section begins.
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
            first, *others = BREAK_PATTERN.split(piece[1:] if len(piece) == 2 and piece[0] == "\\" else piece)
            texts.append(first)
            for text in others:
                breaks.append(len(texts))
                texts.append(text)
            weights += [1.0] * (len(texts) - len(weights))
    for bracket, factor in (("(", ROUND_BRACKET_WEIGHT), ("[", SQUARE_BRACKET_WEIGHT)):
        while open_brackets[bracket]:
            close(bracket, factor)
    places = pairwise([0, *breaks, len(texts)])
    sections = [merge_equal_weights(texts[start:end], weights[start:end]) for start, end in places]
    return sections if sections[-1] or len(sections) == 1 else sections[:-1]


def merge_equal_weights(texts: Sequence[str], weights: Sequence[float]) -> list[WeightedText]:
    """Joins neighbours of equal weight, because the tokenizer must see whole words. Leaves out empty texts."""
    stretches = groupby(zip(texts, weights, strict=True), key=lambda pair: pair[1])
    joined = (WeightedText("".join(text for text, _ in pairs), weight) for weight, pairs in stretches)
    return [each for each in joined if each.text]


def measure_chunks(groups: Iterable[TokenGroup], max_tokens: int) -> list[int]:
    """Returns the lengths of the chunks of a section: at least one, each of at most `max_tokens` tokens.

    A full chunk ends after a comma if there is one among its last tokens, unless another comma follows. Groups are not
    cut: one that does not fit begins the next chunk. So does the web UI.
    """
    lengths = [0]
    after_comma = 0  # Tokens of the last chunk up to its last comma, and with it.
    for group in groups:
        if lengths[-1] == max_tokens:
            is_cut = not group.is_comma and after_comma > 0 and max_tokens - after_comma < COMMA_SEARCH_TOKENS
            carried = max_tokens - after_comma if is_cut else 0
            lengths[-1] -= carried
            lengths.append(carried)
            after_comma = 0
        if lengths[-1] and lengths[-1] + group.length > max_tokens:
            lengths.append(0)
            after_comma = 0
        lengths[-1] += group.length
        if group.is_comma:
            after_comma = lengths[-1]
    return lengths
