"""Textual inversions: vectors that a text encoder gets in place of the embedding of a word.

Gal et al. 2022, https://arxiv.org/abs/2208.01618.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from imagegen.errors import UnusableModel
from imagegen.schema.models import AdapterSource

# Names of the vectors for each of two text encoders.
SDXL_ENCODER_NAMES = ("clip_l", "clip_g")


class TextualInversion:
    """Each of `words` stands for it in a prompt; `vectors` has a tensor of shape (tokens, width) per text encoder."""

    def __init__(self, source: AdapterSource, widths: tuple[int, ...]) -> None:
        """`widths` are those of the text encoders. Raises UnusableModel when the vectors have other widths."""
        self.words = source.trigger
        tensors = load_file(source.path)
        names = SDXL_ENCODER_NAMES if set(SDXL_ENCODER_NAMES) <= tensors.keys() else tuple(tensors)
        self.vectors = tuple(tensors[name].reshape(-1, tensors[name].shape[-1]) for name in names)
        found = tuple(vectors.shape[1] for vectors in self.vectors)
        if found != widths:
            problem = f"its vectors are {format_widths(found)} wide, those of this model {format_widths(widths)}"
            raise UnusableModel(source.id, problem, "embeddings")


def format_widths(widths: tuple[int, ...]) -> str:
    return " and ".join(map(str, widths))


@contextmanager
def replace_token_embeddings(text_encoder: Any, vectors: dict[int, Tensor]) -> Iterator[None]:
    """Replaces token embeddings of a text encoder by vectors, which are given by their position in each row."""

    def replace_output(_module: Any, _inputs: Any, embedded: Tensor) -> Tensor:
        embedded = embedded.clone()
        for position, vector in vectors.items():
            embedded[:, position] = vector.to(embedded)
        return embedded

    handle = text_encoder.get_input_embeddings().register_forward_hook(replace_output) if vectors else None
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()
