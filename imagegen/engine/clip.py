"""Prompts as the CLIP text encoders of Stable Diffusion hear them: one, or two side by side."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from imagegen.engine.inversions import Inversion, heard
from imagegen.engine.prompts import Token, parts, weighted
from imagegen.engine.remembering import Remembered

# Parts of prompts that each text encoder remembers what it said of: about 40 MB for the larger one of XL.
PARTS = 128


@dataclass(frozen=True)
class Heard:
    """`states` is of shape (texts, n * 77, width), `pooled` of shape (texts, width) or None where no model needs it."""

    states: Tensor
    pooled: Tensor | None = None


class ClipEncoder:
    """One text encoder with its tokenizer.

    `ends` is how many of its last layers are never heard: Stable Diffusion XL hears the last but one, before the norm.
    """

    def __init__(self, tokenizer: CLIPTokenizer, text_encoder: Any, ends: int = 0) -> None:
        self.tokenizer, self.text_encoder, self.ends = tokenizer, text_encoder, ends
        self._comma = self._ids(",")[0]
        self._said: Remembered[Heard] = Remembered(PARTS)

    def forget(self) -> None:
        self._said.forget()

    @property
    def width(self) -> int:
        width: int = self.text_encoder.config.hidden_size
        return width

    def tokens(self, prompt: str, words: dict[str, Tensor]) -> list[list[Token]]:
        """The prompt in parts that fit the encoder. `words` are those that stand for vectors."""
        found = [
            token
            for text, weight in weighted(prompt)
            for piece in pieces(text, words)
            for token in self._tokens(piece, weight, words)
        ]
        return parts(found, self.tokenizer.model_max_length - 2, self._comma)

    def _tokens(self, piece: str, weight: float, words: dict[str, Tensor]) -> Iterator[Token]:
        if piece in words:
            yield from (Token(self._comma, weight, vector) for vector in words[piece])
        else:
            yield from (Token(token, weight) for token in self._ids(piece))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        return ids

    def embedding(self, part: list[Token], clip_skip: int, worn: Hashable) -> Heard:
        """Of one part, weighted."""
        spoken = self._hear(part, clip_skip, worn)
        weights = torch.ones(spoken.states.shape[1], 1)
        weights[1 : len(part) + 1, 0] = torch.tensor([token.weight for token in part])
        if torch.all(weights == 1):
            return spoken
        empty = self._hear([], clip_skip, worn).states
        moved = torch.lerp(empty.float(), spoken.states.float(), weights.to(empty.device)).to(empty.dtype)
        return Heard(moved, spoken.pooled)

    def _hear(self, part: list[Token], clip_skip: int, worn: Hashable) -> Heard:
        if any(token.vector is not None for token in part):
            return self._listen(part, clip_skip)
        key = tuple(token.id for token in part), clip_skip, worn
        return self._said.get(key, lambda: self._listen(part, clip_skip))

    def _listen(self, part: list[Token], clip_skip: int) -> Heard:
        """What the text encoder says of one part.

        One part at a time, since in a batch the same part would come out different in its last digits.
        """
        padding = [self.tokenizer.pad_token_id] * (self.tokenizer.model_max_length - 2 - len(part))
        row = [self.tokenizer.bos_token_id, *(t.id for t in part), self.tokenizer.eos_token_id, *padding]
        vectors = {place: token.vector for place, token in enumerate(part, 1) if token.vector is not None}
        skip = clip_skip + self.ends
        with heard(self.text_encoder, vectors):
            output = self.text_encoder(
                torch.tensor([row], device=self.text_encoder.device), output_hidden_states=skip > 0
            )
        pooled = getattr(output, "text_embeds", None)
        if not skip:
            return Heard(output.last_hidden_state, pooled)
        states = output.hidden_states[-1 - skip]
        return Heard(states if self.ends else self.text_encoder.final_layer_norm(states), pooled)


def pieces(text: str, words: dict[str, Tensor]) -> list[str]:
    """The text, cut where one of the words stands by itself. It may be in <angle brackets>."""
    if not words:
        return [text]
    either = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    pattern = re.compile(rf"<({either})>|(?<![\w-])({either})(?![\w-])")
    cut, start = [], 0
    for match in pattern.finditer(text):
        cut += [text[start : match.start()], match[1] or match[2]]
        start = match.end()
    return [piece for piece in [*cut, text[start:]] if piece.strip()]


class PromptEncoder:
    """Makes the embeddings that a Stable Diffusion pipeline takes in place of prompts.

    For a prompt without brackets that fits the text encoder they are exactly the pipeline's own. `zeros` is whether an
    empty negative prompt is heard as nothing at all, rather than as an empty text.
    """

    def __init__(self, encoders: Sequence[ClipEncoder], zeros: bool = False) -> None:
        self.encoders, self.zeros = encoders, zeros

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(encoder.width for encoder in self.encoders)

    def forget(self) -> None:
        """What they said is on the device, and the model leaves it."""
        for encoder in self.encoders:
            encoder.forget()

    def encode(
        self,
        prompt: str,
        negative_prompt: str,
        clip_skip: int = 0,
        inversions: Sequence[Inversion] = (),
        worn: Hashable = (),
    ) -> tuple[Heard, Heard]:
        """Embeddings of both."""
        return self.encode_all((prompt,), negative_prompt, clip_skip, inversions, worn)

    @torch.no_grad()
    def encode_all(
        self,
        prompts: Sequence[str],
        negative_prompt: str,
        clip_skip: int = 0,
        inversions: Sequence[Inversion] = (),
        worn: Hashable = (),
    ) -> tuple[Heard, Heard]:
        """Embeddings of the prompts, in rows, and of the negative prompt, in as many.

        Shorter ones are filled up with themselves: who attends to the same words twice hears what he hears once, while
        empty parts would drown them. `clip_skip` is how many of the text encoder's last layers are left out, `worn`
        tells apart what it wears.
        """
        texts = (*prompts, negative_prompt)
        heard_by = [self._each(index, texts, clip_skip, inversions, worn) for index in range(len(self.encoders))]
        length = max(len(parts) for each in heard_by for parts in each)
        *positive, negative = (joined(list(parts), length) for parts in zip(*heard_by, strict=True))
        if self.zeros and not negative_prompt:
            negative = Heard(torch.zeros_like(negative.states), zeros_like(negative.pooled))
        return in_rows(positive), in_rows([negative] * len(prompts))

    def _each(
        self, index: int, texts: Sequence[str], clip_skip: int, inversions: Sequence[Inversion], worn: Hashable
    ) -> list[list[Heard]]:
        """What one encoder hears of each text, in parts."""
        encoder = self.encoders[index]
        words = {inversion.word: inversion.vectors[index] for inversion in inversions}
        return [[encoder.embedding(part, clip_skip, worn) for part in encoder.tokens(text, words)] for text in texts]


def joined(by_encoder: list[list[Heard]], length: int) -> Heard:
    """Parts one after another, encoders side by side; the last encoder's first part says what the whole is about."""
    rows = [torch.cat([part.states for part in islice(cycle(parts), length)], dim=1) for parts in by_encoder]
    return Heard(torch.cat(rows, dim=-1), by_encoder[-1][0].pooled)


def in_rows(heard: Sequence[Heard]) -> Heard:
    """All of the same length."""
    if len(heard) == 1:
        return heard[0]
    pooled = [each.pooled for each in heard if each.pooled is not None]
    return Heard(torch.cat([each.states for each in heard]), torch.cat(pooled) if pooled else None)


def zeros_like(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else torch.zeros_like(tensor)


def encoder_for(pipeline: Any) -> PromptEncoder:
    """For a Stable Diffusion pipeline, 1, 2 or XL."""
    if not hasattr(pipeline, "text_encoder_2"):
        return PromptEncoder([ClipEncoder(pipeline.tokenizer, pipeline.text_encoder)])
    encoders = [
        ClipEncoder(pipeline.tokenizer, pipeline.text_encoder, ends=1),
        ClipEncoder(pipeline.tokenizer_2, pipeline.text_encoder_2, ends=1),
    ]
    return PromptEncoder(encoders, zeros=bool(pipeline.config.force_zeros_for_empty_prompt))
