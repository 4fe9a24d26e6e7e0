"""Textual inversions: vectors that a text encoder hears in place of a word.

Gal et al. 2022, https://arxiv.org/abs/2208.01618.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from imagegen.errors import UnusableModel
from imagegen.info import AdapterSource

# Names of the vectors for each of two text encoders.
PAIR = ("clip_l", "clip_g")


class Inversion:
    """`word` calls it up in a prompt; `vectors` has one tensor of shape (tokens, width) for each text encoder."""

    def __init__(self, source: AdapterSource, widths: tuple[int, ...]) -> None:
        """Raises UnusableModel when its vectors are not as wide as the text encoders."""
        self.word = source.trigger[0]
        tensors = load_file(source.path)
        names = PAIR if set(PAIR) <= tensors.keys() else tuple(tensors)
        self.vectors = tuple(tensors[name].reshape(-1, tensors[name].shape[-1]) for name in names)
        found = tuple(vectors.shape[1] for vectors in self.vectors)
        if found != widths:
            problem = f"its vectors are {said(found)} wide, those of this model {said(widths)}"
            raise UnusableModel(source.id, problem, "embeddings")


def said(widths: tuple[int, ...]) -> str:
    return " and ".join(map(str, widths))


@contextmanager
def heard(text_encoder: Any, vectors: dict[int, Tensor]) -> Iterator[None]:
    """Meanwhile the text encoder hears these vectors at these places of every row, whatever the tokens are."""

    def replace(_module: Any, _inputs: Any, embedded: Tensor) -> Tensor:
        embedded = embedded.clone()
        for place, vector in vectors.items():
            embedded[:, place] = vector.to(embedded)
        return embedded

    handle = text_encoder.get_input_embeddings().register_forward_hook(replace) if vectors else None
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()
