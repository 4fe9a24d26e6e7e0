"""Adapters put on a network for one job, and taken off again without a trace.

The factors of all LoRAs are multiplied out and added to the weights. What the weights were is kept in main memory:
to subtract again would leave rounding errors, and a picture without LoRAs must not tell who had one on before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from imagegen.engine.loading import Pipeline
from imagegen.engine.loras import Factors, Lora
from imagegen.errors import UnusableModel

# The class for text in transformers 5 has one level of names less than the files have.
OLD_LEVEL = "text_model."

Layer = nn.Linear | nn.Conv2d


@dataclass(frozen=True)
class Worn:
    """A LoRA in a stack. `sha256` is of its file: the same name may be another one tomorrow."""

    id: str
    sha256: str
    lora: Lora
    weight: float


@dataclass(frozen=True)
class Outfit:
    """What a stack adds to each layer of some networks. Two with the same key are the same."""

    key: tuple[tuple[str, float], ...] = ()
    layers: Mapping[Layer, Sequence[tuple[Factors, float]]] = field(default_factory=dict)


NOTHING = Outfit()


class Tailor:
    """Finds where the LoRAs of a stack belong in the networks of one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._layers: dict[tuple[str, str], Layer | None] = {}

    def outfit(self, stack: Sequence[Worn], encoders: bool) -> Outfit:
        """For the text encoders, or for the rest. Those of weight 0 are left out. Raises UnusableModel."""
        key: dict[tuple[str, float], None] = {}
        layers: dict[Layer, list[tuple[Factors, float]]] = {}
        for worn in stack:
            for (part, module), factors in worn.lora.items() if worn.weight else ():
                if part.startswith("text_encoder") == encoders:
                    layer = self._fitting(worn, part, module, factors)
                    layers.setdefault(layer, []).append((factors, worn.weight))
                    key[worn.sha256, worn.weight] = None
        return Outfit(tuple(key), layers)

    def _fitting(self, worn: Worn, part: str, module: str, factors: Factors) -> Layer:
        layer = self._layer(part, module)
        if layer is None:
            raise UnusableModel(worn.id, f"this model has no {part}.{module} for it to change", "loras")
        shape = (factors.up.shape[0], factors.down[0].numel())
        here = (layer.weight.shape[0], layer.weight[0].numel())
        if shape != here:
            problem = f"it is {shape[0]} x {shape[1]} at {part}.{module}, where this model is {here[0]} x {here[1]}"
            raise UnusableModel(worn.id, problem, "loras")
        return layer

    def _layer(self, part: str, module: str) -> Layer | None:
        place = part, module
        if place not in self._layers:
            self._layers[place] = layer_of(getattr(self.pipeline, part, None), module)
        return self._layers[place]


class Wardrobe:
    """What some networks wear. An outfit is put on as a whole; the same one again costs nothing."""

    def __init__(self) -> None:
        self._worn = NOTHING.key
        self._clean: dict[nn.Parameter, Tensor] = {}

    @torch.no_grad()
    def wear(self, outfit: Outfit) -> None:
        """Instead of what was worn. When it fails, nothing is worn."""
        if outfit.key == self._worn:
            return
        self.take_off()
        try:
            for layer, parts in outfit.layers.items():
                weight = weight_of(layer)
                if weight not in self._clean:
                    self._clean[weight] = weight.detach().to("cpu", copy=True)
                weight.copy_(changed(weight, parts))
        except BaseException:
            self._restore()
            raise
        self._worn = outfit.key

    def take_off(self) -> None:
        if self._worn:
            self._restore()

    def empty(self) -> None:
        """Takes everything off, and frees what is kept for that."""
        self.take_off()
        self._clean.clear()

    @torch.no_grad()
    def _restore(self) -> None:
        self._worn = NOTHING.key
        for weight, clean in self._clean.items():
            weight.copy_(clean)


def changed(weight: nn.Parameter, parts: Sequence[tuple[Factors, float]]) -> Tensor:
    """A weight with all that is added to it."""
    up, down = side_by_side(parts, weight.device, torch.float32)
    return torch.addmm(weight.float().flatten(1), up, down).view(weight.shape)


def side_by_side(
    parts: Sequence[tuple[Factors, float]], device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """All that is added to a weight as one product, of shapes (out, ranks) and (ranks, in)."""
    up = torch.cat([factors.up.to(device, dtype).flatten(1) * (factors.scale * w) for factors, w in parts], dim=1)
    down = torch.cat([factors.down.to(device, dtype).flatten(1) for factors, _ in parts])
    return up, down


def weight_of(layer: Layer) -> nn.Parameter:
    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    return weight


def layer_of(network: Any, module: str) -> Layer | None:
    """The layer of that name; None when there is no such layer."""
    for name in names(module):
        try:
            layer = network.get_submodule(name)
        except AttributeError:
            continue
        if isinstance(layer, Layer):
            return layer
    return None


def names(module: str) -> Iterable[str]:
    yield module
    yield module.removeprefix(OLD_LEVEL)
    yield OLD_LEVEL + module
