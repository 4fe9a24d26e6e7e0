"""Merges the LoRAs of a job into the weights of a network, and restores the weights exactly.

The factors of all LoRAs are multiplied out and added to the weights. The original weights are kept in main memory:
subtracting would leave rounding errors, so that later pictures would depend on earlier jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from imagegen.engine.adapters.lora_file import Factors, Lora
from imagegen.engine.protocols import Pipeline
from imagegen.errors import UnusableModel

# The text model of transformers 5 has one level of names less than LoRA files have.
TEXT_MODEL_PREFIX = "text_model."

Layer = nn.Linear | nn.Conv2d


@dataclass(frozen=True)
class WeightedLora:
    """A LoRA in a stack. `sha256` is of its file, since the file of a name may change."""

    id: str
    sha256: str
    layers: Lora
    weight: float


@dataclass(frozen=True)
class AdapterSet:
    """What a stack of LoRAs adds to each layer of some networks. Two with the same key are equal."""

    key: tuple[tuple[str, float], ...] = ()
    layers: Mapping[Layer, Sequence[tuple[Factors, float]]] = field(default_factory=dict)


NO_ADAPTERS = AdapterSet()


class AdapterResolver:
    """Finds the layers in the networks of one pipeline that the LoRAs of a stack change."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._layers: dict[tuple[str, str], Layer | None] = {}

    def resolve(self, loras: Sequence[WeightedLora], for_encoders: bool) -> AdapterSet:
        """Returns the adapters for the text encoders, or for the other networks. LoRAs of weight 0 are left out.

        Raises UnusableModel for a LoRA that does not fit.
        """
        key: dict[tuple[str, float], None] = {}
        layers: dict[Layer, list[tuple[Factors, float]]] = {}
        for lora in loras:
            for (part, module), factors in lora.layers.items() if lora.weight else ():
                if part.startswith("text_encoder") == for_encoders:
                    layer = self._find_matching_layer(lora, part, module, factors)
                    layers.setdefault(layer, []).append((factors, lora.weight))
                    key[lora.sha256, lora.weight] = None
        return AdapterSet(tuple(key), layers)

    def _find_matching_layer(self, lora: WeightedLora, part: str, module: str, factors: Factors) -> Layer:
        layer = self._find_layer(part, module)
        if layer is None:
            raise UnusableModel(lora.id, f"this model has no {part}.{module} for it to change", "loras")
        lora_shape = (factors.up.shape[0], factors.down[0].numel())
        layer_shape = (layer.weight.shape[0], layer.weight[0].numel())
        if lora_shape != layer_shape:
            found, expected = (f"{rows} x {columns}" for rows, columns in (lora_shape, layer_shape))
            problem = f"it is {found} at {part}.{module}, where this model is {expected}"
            raise UnusableModel(lora.id, problem, "loras")
        return layer

    def _find_layer(self, part: str, module: str) -> Layer | None:
        key = part, module
        if key not in self._layers:
            self._layers[key] = find_layer(getattr(self.pipeline, part, None), module)
        return self._layers[key]


class WeightPatcher:
    """Merges adapters into the weights of some networks. Merging the same adapters again costs nothing."""

    def __init__(self) -> None:
        self._merged_key = NO_ADAPTERS.key
        self._original_weights: dict[nn.Parameter, Tensor] = {}

    @torch.no_grad()
    def merge(self, adapters: AdapterSet) -> None:
        """Merges adapters in place of those merged before. If that fails, the original weights are restored."""
        if adapters.key == self._merged_key:
            return
        self.unmerge()
        try:
            for layer, parts in adapters.layers.items():
                weight = get_weight(layer)
                if weight not in self._original_weights:
                    self._original_weights[weight] = weight.detach().to("cpu", copy=True)
                weight.copy_(add_lora_deltas(weight, parts))
        except BaseException:
            self._restore_weights()
            raise
        self._merged_key = adapters.key

    def unmerge(self) -> None:
        if self._merged_key:
            self._restore_weights()

    def unmerge_and_free(self) -> None:
        """Restores the original weights, and frees the copies of them."""
        self.unmerge()
        self._original_weights.clear()

    @torch.no_grad()
    def _restore_weights(self) -> None:
        self._merged_key = NO_ADAPTERS.key
        for weight, original in self._original_weights.items():
            weight.copy_(original)


def add_lora_deltas(weight: nn.Parameter, parts: Sequence[tuple[Factors, float]]) -> Tensor:
    """Returns a weight with all LoRAs added to it, of the weight's shape, in float32."""
    up, down = concatenate_factors(parts, weight.device, torch.float32)
    return torch.addmm(weight.float().flatten(1), up, down).view(weight.shape)


def concatenate_factors(
    parts: Sequence[tuple[Factors, float]], device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Returns all that is added to a weight as two factors, of shapes (out, ranks) and (ranks, in)."""
    up = torch.cat([factors.up.to(device, dtype).flatten(1) * (factors.scale * w) for factors, w in parts], dim=1)
    down = torch.cat([factors.down.to(device, dtype).flatten(1) for factors, _ in parts])
    return up, down


def get_weight(layer: Layer) -> nn.Parameter:
    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    return weight


def find_layer(network: object, module: str) -> Layer | None:
    """Returns the layer of that name, or None."""
    if not isinstance(network, nn.Module):
        return None
    for name in list_candidate_names(module):
        try:
            layer = network.get_submodule(name)
        except AttributeError:
            continue
        if isinstance(layer, Layer):
            return layer
    return None


def list_candidate_names(module: str) -> Iterable[str]:
    yield module
    yield module.removeprefix(TEXT_MODEL_PREFIX)
    yield TEXT_MODEL_PREFIX + module
