r"""Prompts to embeddings: any length, with words that weigh more or less.

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
from itertools import cycle, groupby, islice
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

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
    id: int
    weight: float


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


class PromptEncoder:
    """Makes the embeddings that a Stable Diffusion pipeline takes in place of prompts.

    For a prompt without brackets that fits the text encoder they are exactly the pipeline's own.
    """

    def __init__(self, tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel) -> None:
        self.tokenizer, self.text_encoder = tokenizer, text_encoder
        self._comma = self._ids(",")[0]

    @torch.no_grad()
    def encode(self, prompt: str, negative_prompt: str, clip_skip: int = 0) -> tuple[Tensor, Tensor]:
        """Embeddings of both, each of shape (1, n * 77, width).

        The shorter one is filled up with itself: who attends to the same words twice hears what he hears once, while
        empty parts would drown it. `clip_skip` is how many of the text encoder's last layers are left out.
        """
        empty = self._states([], clip_skip)
        both = [
            [self._embedding(part, empty, clip_skip) for part in self._parts(text)]
            for text in (prompt, negative_prompt)
        ]
        length = max(map(len, both))
        positive, negative = (torch.cat([*islice(cycle(embeddings), length)], dim=1) for embeddings in both)
        return positive, negative

    def _parts(self, prompt: str) -> list[list[Token]]:
        tokens = [Token(token, weight) for text, weight in weighted(prompt) for token in self._ids(text)]
        return parts(tokens, self.tokenizer.model_max_length - 2, self._comma)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        return ids

    def _embedding(self, part: list[Token], empty: Tensor, clip_skip: int) -> Tensor:
        if not part:
            return empty
        states = self._states([token.id for token in part], clip_skip)
        weights = torch.ones(states.shape[1], 1)
        weights[1 : len(part) + 1, 0] = torch.tensor([token.weight for token in part])
        if torch.all(weights == 1):
            return states
        return torch.lerp(empty.float(), states.float(), weights.to(states.device)).to(states.dtype)

    def _states(self, ids: list[int], clip_skip: int) -> Tensor:
        """What the text encoder says of one part: of shape (1, 77, width).

        One part at a time, since in a batch the same part would come out different in its last digits.
        """
        padding = [self.tokenizer.pad_token_id] * (self.tokenizer.model_max_length - 2 - len(ids))
        row = [self.tokenizer.bos_token_id, *ids, self.tokenizer.eos_token_id, *padding]
        output = self.text_encoder(
            torch.tensor([row], device=self.text_encoder.device), output_hidden_states=clip_skip > 0
        )
        if not clip_skip:
            last: Tensor = output.last_hidden_state
            return last
        skipped: Tensor = self.text_encoder.final_layer_norm(output.hidden_states[-1 - clip_skip])
        return skipped
