"""Weighted tokens.

A weight w scales the difference of a token's embedding from that of an empty prompt at the same position:
empty + w * (token - empty), as in ComfyUI. AUTOMATIC1111's web UI multiplies the embedding and then restores the mean
of all values, which is unstable for text encoders whose mean is near zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from torch import Tensor

from imagegen.schema.prompt_weights import TokenGroup, measure_chunks


class Token(NamedTuple):
    """A token id with its weight. `vector`, of shape (width,), replaces the token's embedding."""

    id: int
    weight: float
    vector: Tensor | None = None


def split_into_chunks(groups: Sequence[Sequence[Token]], max_tokens: int, comma: int) -> list[list[Token]]:
    """Splits the tokens of a section into chunks, as `measure_chunks` says. Each group stays in one chunk."""
    lengths = measure_chunks([TokenGroup(len(group), group[0].id == comma) for group in groups], max_tokens)
    tokens = [token for group in groups for token in group]
    return [tokens[start:end] for start, end in pairwise(accumulate(lengths, initial=0))]
