"""Applies LoRAs per row of a pass, beside the layers instead of merged into their weights.

W' x = W x + up (down x): the same numbers as with the product added to the weights, at the cost of two small layers
beside each that is changed. S-LoRA does so for language models, https://arxiv.org/abs/2311.03285.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from imagegen.engine.adapters.deltas import LowRankDelta
from imagegen.engine.adapters.merge import AdapterSet, concatenate_factors

Layer = nn.Linear | nn.Conv2d
LoraHook = Callable[[Layer, tuple[Tensor, ...], Tensor], Tensor]


class RowsNotSeparable(Exception):
    """A layer's input does not have one row per row of the pass, so that LoRAs cannot be applied per row."""


@dataclass(frozen=True)
class LoraBranch:
    """`up` is of shape (out, ranks), `down` of shape (ranks, in)."""

    up: Tensor
    down: Tensor

    def compute(self, layer: Layer, x: Tensor) -> Tensor:
        if isinstance(layer, nn.Linear):
            return F.linear(F.linear(x, self.down), self.up)
        down = self.down.view(-1, *layer.weight.shape[1:])
        inner = F.conv2d(x, down, None, layer.stride, layer.padding, layer.dilation, layer.groups)
        return F.conv2d(inner, self.up[:, :, None, None])


class PerRowLora:
    """Adds the output of LoRAs to layers. Their factors stay on the device while passes use the same LoRAs."""

    def __init__(self) -> None:
        self._branches: dict[tuple[tuple[str, float], ...], dict[Layer, LoraBranch]] = {}

    @contextmanager
    def applied(self, adapter_sets: Sequence[tuple[AdapterSet, int]]) -> Iterator[None]:
        """Applies each set of adapters to its number of rows, in this order, during one pass.

        All sets can be applied so. The pass raises RowsNotSeparable where a layer's rows are not those of the pass.
        """
        self._branches = {
            adapters.key: self._branches.get(adapters.key) or build_branches(adapters) for adapters, _ in adapter_sets
        }
        by_layer: dict[Layer, list[tuple[slice, LoraBranch]]] = {}
        start, total_rows = 0, sum(rows for _, rows in adapter_sets)
        for adapters, rows in adapter_sets:
            for layer, branch in self._branches[adapters.key].items():
                by_layer.setdefault(layer, []).append((slice(start, start + rows), branch))
            start += rows
        is_single = len({adapters.key for adapters, _ in adapter_sets}) == 1
        with ExitStack() as hooks:
            for layer, parts in by_layer.items():
                slices = [(slice(None), parts[0][1])] if is_single else parts
                handle = layer.register_forward_hook(make_lora_hook(slices, None if is_single else total_rows))
                hooks.callback(handle.remove)
            yield


def build_branches(adapters: AdapterSet) -> dict[Layer, LoraBranch]:
    """Returns the branches of adapters that can be applied per row."""
    branches: dict[Layer, LoraBranch] = {}
    for (layer, _), deltas in adapters.parameters.items():
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        low_rank = [(delta, weight) for delta, weight in deltas if isinstance(delta, LowRankDelta)]
        branches[layer] = LoraBranch(*concatenate_factors(low_rank, layer.weight.device, layer.weight.dtype))
    return branches


def make_lora_hook(parts: Sequence[tuple[slice, LoraBranch]], rows: int | None) -> LoraHook:
    """Returns a forward hook that adds the output of each branch to its rows of a layer's output.

    With `rows`, the hook raises RowsNotSeparable for an input with another number of rows.
    """

    def hook(layer: Layer, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x = inputs[0]
        if rows is not None and len(x) != rows:
            raise RowsNotSeparable
        for part, branch in parts:
            output[part] += branch.compute(layer, x[part])
        return output

    return hook
