"""Encodes prompts with the CLIP text encoders of Stable Diffusion: one, or two in parallel."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from imagegen.engine.adapters.textual_inversion import TextualInversion, replace_token_embeddings
from imagegen.engine.prompts.prompt_cache import PromptCache
from imagegen.engine.prompts.weighting import Token, split_into_chunks
from imagegen.schema.embedding_words import find_words
from imagegen.schema.prompt_schedule import StepPrompts
from imagegen.schema.prompt_weights import parse_sections

# The token under each vector of a textual inversion. The web UI takes the same.
PLACEHOLDER_TOKEN = 0
# Chunks that each text encoder caches: about 40 MB for the larger encoder of SDXL.
MAX_CACHED_CHUNKS = 128


@dataclass(frozen=True)
class PromptEmbeds:
    """`states` has the shape (texts, n * 77, width), `pooled` (texts, width) or is None where no model needs it."""

    states: Tensor
    pooled: Tensor | None = None


class ClipEncoder:
    """A text encoder with its tokenizer and a cache of encoded chunks.

    `skipped_layers` is how many of the last layers are never used: SDXL takes the last hidden state but one, without
    the final norm.
    """

    def __init__(self, tokenizer: CLIPTokenizer, text_encoder: Any, skipped_layers: int = 0) -> None:
        self.tokenizer, self.text_encoder, self.skipped_layers = tokenizer, text_encoder, skipped_layers
        self._comma = self._token_ids(",")[0]
        self._cache: PromptCache[PromptEmbeds] = PromptCache(MAX_CACHED_CHUNKS)

    def clear_cache(self) -> None:
        """Evicts all chunks."""
        self._cache.clear()

    @property
    def max_tokens(self) -> int:
        """How many tokens a chunk has room for, between the one at its start and the one at its end."""
        length: int = self.tokenizer.model_max_length
        return length - 2

    @property
    def width(self) -> int:
        """Width of the hidden states."""
        width: int = self.text_encoder.config.hidden_size
        return width

    def tokenize(self, prompt: str, word_vectors: dict[str, Tensor]) -> list[list[Token]]:
        """Splits a prompt into chunks of tokens that fit the encoder.

        `word_vectors` maps words to vectors (n, width).
        """
        return [
            chunk
            for section in parse_sections(prompt)
            for chunk in split_into_chunks(
                [group for text, weight in section for group in self._tokenize_text(text, weight, word_vectors)],
                self.max_tokens,
                self._comma,
            )
        ]

    def _tokenize_text(self, text: str, weight: float, word_vectors: dict[str, Tensor]) -> Iterator[list[Token]]:
        """Yields each token of a text, and the tokens of each textual inversion together."""
        start = 0
        for found in find_words(text, word_vectors):
            yield from ([Token(token, weight)] for token in self._token_ids(text[start : found.start]))
            yield [Token(PLACEHOLDER_TOKEN, weight, vector) for vector in word_vectors[found.word]]
            start = found.end
        yield from ([Token(token, weight)] for token in self._token_ids(text[start:]))

    def _token_ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        return ids

    def encode_chunk(self, chunk: list[Token], clip_skip: int, adapters_key: Hashable) -> PromptEmbeds:
        """Returns the embedding of one chunk, of shape (1, 77, width), with the weights of its tokens applied."""
        embeds = self._encode_cached(chunk, clip_skip, adapters_key)
        weights = torch.ones(embeds.states.shape[1], 1)
        weights[1 : len(chunk) + 1, 0] = torch.tensor([token.weight for token in chunk])
        if torch.all(weights == 1):
            return embeds
        empty = self._encode_cached([], clip_skip, adapters_key).states
        blended = torch.lerp(empty.float(), embeds.states.float(), weights.to(empty.device)).to(empty.dtype)
        return PromptEmbeds(blended, embeds.pooled)

    def _encode_cached(self, chunk: list[Token], clip_skip: int, adapters_key: Hashable) -> PromptEmbeds:
        if any(token.vector is not None for token in chunk):
            return self._run_text_encoder(chunk, clip_skip)
        key = tuple(token.id for token in chunk), clip_skip, adapters_key
        return self._cache.get_or_compute(key, lambda: self._run_text_encoder(chunk, clip_skip))

    def _run_text_encoder(self, chunk: list[Token], clip_skip: int) -> PromptEmbeds:
        """Encodes one chunk, padded to the encoder's length.

        One at a time, because in a batch the same chunk would differ in its last digits.
        """
        padding = [self.tokenizer.pad_token_id] * (self.max_tokens - len(chunk))
        row = [self.tokenizer.bos_token_id, *(t.id for t in chunk), self.tokenizer.eos_token_id, *padding]
        vectors = {position: token.vector for position, token in enumerate(chunk, 1) if token.vector is not None}
        skip = clip_skip + self.skipped_layers
        with replace_token_embeddings(self.text_encoder, vectors):
            output = self.text_encoder(
                torch.tensor([row], device=self.text_encoder.device), output_hidden_states=skip > 0
            )
        pooled = getattr(output, "text_embeds", None)
        if not skip:
            return PromptEmbeds(output.last_hidden_state, pooled)
        states = output.hidden_states[-1 - skip]
        return PromptEmbeds(states if self.skipped_layers else self.text_encoder.final_layer_norm(states), pooled)


class PromptEncoder:
    """Encodes prompts to the embeddings that a Stable Diffusion pipeline accepts in their place.

    For a prompt without weights that fits the text encoder, they equal the pipeline's own. With `has_zero_negative`, an
    empty negative prompt becomes zeros instead of the embedding of an empty text.
    """

    def __init__(self, encoders: Sequence[ClipEncoder], has_zero_negative: bool = False) -> None:
        self.encoders, self.has_zero_negative = encoders, has_zero_negative

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the encoders' hidden states."""
        return tuple(encoder.width for encoder in self.encoders)

    def clear_cache(self) -> None:
        """Evicts all cached embeddings from the device, because the model leaves it."""
        for encoder in self.encoders:
            encoder.clear_cache()

    def encode(
        self,
        prompt: str,
        negative_prompt: str,
        clip_skip: int = 0,
        inversions: Sequence[TextualInversion] = (),
        adapters_key: Hashable = (),
    ) -> tuple[PromptEmbeds, PromptEmbeds]:
        """Returns the embeddings of one prompt and of the negative prompt, as `encode_all` does."""
        return self.encode_all((prompt,), negative_prompt, clip_skip, inversions, adapters_key)

    def encode_all(
        self,
        prompts: Sequence[str],
        negative_prompt: str,
        clip_skip: int = 0,
        inversions: Sequence[TextualInversion] = (),
        adapters_key: Hashable = (),
    ) -> tuple[PromptEmbeds, PromptEmbeds]:
        """Returns the embeddings of the prompts, one per row, and of the negative prompt, repeated to as many rows.

        Arguments are those of `encode_steps`.
        """
        steps = [StepPrompts(tuple(prompts), negative_prompt)]
        return self.encode_steps(steps, clip_skip, inversions, adapters_key)[0]

    @torch.no_grad()
    def encode_steps(
        self,
        steps: Sequence[StepPrompts],
        clip_skip: int = 0,
        inversions: Sequence[TextualInversion] = (),
        adapters_key: Hashable = (),
    ) -> list[tuple[PromptEmbeds, PromptEmbeds]]:
        """Returns the embeddings of the prompts of each step, one per row, and of its negative prompt, repeated to as
        many rows. Steps with equal prompts have the same ones.

        All rows get the same length. Shorter prompts are repeated up to it: attention is not changed by repeated words,
        while empty chunks would dilute it. `clip_skip` is how many of the text encoder's last layers are left out;
        `adapters_key` is part of the cache key: it identifies the LoRAs on the text encoders.
        """
        texts = list(dict.fromkeys(text for step in steps for text in (*step.prompts, step.negative_prompt)))
        by_encoder = [
            self._encode_texts(index, texts, clip_skip, inversions, adapters_key) for index in range(len(self.encoders))
        ]
        length = max(len(chunks) for each in by_encoder for chunks in each)
        whole = (concatenate_chunks(list(chunks), length) for chunks in zip(*by_encoder, strict=True))
        by_text = dict(zip(texts, whole, strict=True))
        by_prompts = {step: self._stack_step(step, by_text) for step in dict.fromkeys(steps)}
        return [by_prompts[step] for step in steps]

    def _stack_step(self, step: StepPrompts, by_text: Mapping[str, PromptEmbeds]) -> tuple[PromptEmbeds, PromptEmbeds]:
        """Returns the embeddings of the prompts of a step, and of its negative prompt, with a row for each picture."""
        negative = by_text[step.negative_prompt]
        if self.has_zero_negative and not step.negative_prompt:
            negative = PromptEmbeds(torch.zeros_like(negative.states), make_zeros_like(negative.pooled))
        return stack_rows([by_text[prompt] for prompt in step.prompts]), stack_rows([negative] * len(step.prompts))

    def _encode_texts(
        self, index: int, texts: Sequence[str], skip: int, inversions: Sequence[TextualInversion], key: Hashable
    ) -> list[list[PromptEmbeds]]:
        """Returns the chunks of each text, encoded by one encoder."""
        encoder = self.encoders[index]
        word_vectors = {word: each.vectors[index] for each in inversions for word in each.words}
        return [
            [encoder.encode_chunk(part, skip, key) for part in encoder.tokenize(text, word_vectors)] for text in texts
        ]


def concatenate_chunks(by_encoder: list[list[PromptEmbeds]], length: int) -> PromptEmbeds:
    """Concatenates chunks along the tokens, cycling up to `length` chunks, and encoders along the width.

    The pooled embedding is that of the last encoder's first chunk.
    """
    rows = [torch.cat([part.states for part in islice(cycle(parts), length)], dim=1) for parts in by_encoder]
    return PromptEmbeds(torch.cat(rows, dim=-1), by_encoder[-1][0].pooled)


def stack_rows(embeds: Sequence[PromptEmbeds]) -> PromptEmbeds:
    """Stacks embeddings of equal length into one batch."""
    if len(embeds) == 1:
        return embeds[0]
    pooled = [each.pooled for each in embeds if each.pooled is not None]
    return PromptEmbeds(torch.cat([each.states for each in embeds]), torch.cat(pooled) if pooled else None)


def make_zeros_like(tensor: Tensor | None) -> Tensor | None:
    """Returns zeros in the shape of a tensor, or None."""
    return None if tensor is None else torch.zeros_like(tensor)


def build_prompt_encoder(pipeline: Any) -> PromptEncoder:
    """Returns the prompt encoder of a pipeline of Stable Diffusion 1, 2 or XL."""
    if not hasattr(pipeline, "text_encoder_2"):
        return PromptEncoder([ClipEncoder(pipeline.tokenizer, pipeline.text_encoder)])
    encoders = [
        ClipEncoder(pipeline.tokenizer, pipeline.text_encoder, skipped_layers=1),
        ClipEncoder(pipeline.tokenizer_2, pipeline.text_encoder_2, skipped_layers=1),
    ]
    return PromptEncoder(encoders, has_zero_negative=bool(pipeline.config.force_zeros_for_empty_prompt))
