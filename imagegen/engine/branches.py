"""LoRAs beside a network instead of in it: then each row of a pass can wear others.

W' x = W x + up (down x): the same numbers as with the product added to the weights, at the cost of two small layers
beside each that is adapted. S-LoRA does so for language models, https://arxiv.org/abs/2311.03285.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from imagegen.engine.wearing import Layer, Outfit, side_by_side


class Rowless(Exception):
    """A layer sees rows that are not those of the pass: they cannot be told apart there."""


@dataclass(frozen=True)
class Branch:
    """`up` is of shape (out, ranks), `down` of shape (ranks, in)."""

    up: Tensor
    down: Tensor

    def of(self, layer: Layer, x: Tensor) -> Tensor:
        if isinstance(layer, nn.Linear):
            return F.linear(F.linear(x, self.down), self.up)
        down = self.down.view(-1, *layer.weight.shape[1:])
        inner = F.conv2d(x, down, None, layer.stride, layer.padding, layer.dilation, layer.groups)
        return F.conv2d(inner, self.up[:, :, None, None])


class Branches:
    """The branches of outfits, kept from pass to pass as long as the same outfits are worn."""

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], dict[Layer, Branch]] = {}

    @contextmanager
    def worn(self, outfits: Sequence[tuple[Outfit, int]]) -> Iterator[None]:
        """During one pass, in which each outfit is worn by so many rows, in this order. Raises Rowless."""
        self._made = {outfit.key: self._made.get(outfit.key) or made(outfit) for outfit, _ in outfits}
        by_layer: dict[Layer, list[tuple[slice, Branch]]] = {}
        start, whole = 0, sum(rows for _, rows in outfits)
        for outfit, rows in outfits:
            for layer, branch in self._made[outfit.key].items():
                by_layer.setdefault(layer, []).append((slice(start, start + rows), branch))
            start += rows
        alone = len({outfit.key for outfit, _ in outfits}) == 1
        with ExitStack() as hooks:
            for layer, parts in by_layer.items():
                wanted = [(slice(None), parts[0][1])] if alone else parts
                handle = layer.register_forward_hook(adding(wanted, None if alone else whole))
                hooks.callback(handle.remove)
            yield


def made(outfit: Outfit) -> dict[Layer, Branch]:
    return {
        layer: Branch(*side_by_side(parts, layer.weight.device, layer.weight.dtype))
        for layer, parts in outfit.layers.items()
    }


def adding(parts: Sequence[tuple[slice, Branch]], rows: int | None) -> Any:
    """A hook that adds to the output of a layer what the branches say. None rows are as many as there are."""

    def hook(layer: Layer, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x = inputs[0]
        if rows is not None and len(x) != rows:
            raise Rowless
        for part, branch in parts:
            output[part] += branch.of(layer, x[part])
        return output

    return hook
