"""Merges the LoRAs of a job into the weights of a network, and restores the weights exactly.

What all LoRAs add is computed and added to the weights. The original weights are kept in main memory:
subtracting would leave rounding errors, so that later pictures would depend on earlier jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from imagegen.engine.adapters.deltas import Delta, FullDelta, LowRankDelta
from imagegen.engine.adapters.layer_names import LayerNames, LayerPart
from imagegen.engine.adapters.lora_file import Lora
from imagegen.engine.protocols import Pipeline
from imagegen.errors import UnusableModel

# A parameter of a layer: its weight or its bias.
ParameterKey = tuple[nn.Module, str]
WeightedDeltas = Sequence[tuple[Delta, float]]


@dataclass(frozen=True)
class WeightedLora:
    """A LoRA in a stack. `fingerprint` is of its file and its configuration: the file of a name may change."""

    id: str
    fingerprint: str
    layers: Lora
    weight: float


@dataclass(frozen=True)
class AdapterSet:
    """What a stack of LoRAs adds to the parameters of some networks. Two with the same key are equal."""

    key: tuple[tuple[str, float], ...] = ()
    parameters: Mapping[ParameterKey, WeightedDeltas] = field(default_factory=dict)
    can_apply_per_row: bool = True


NO_ADAPTERS = AdapterSet()


class AdapterResolver:
    """Finds the layers in the networks of one pipeline that the LoRAs of a stack change."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.names = LayerNames(pipeline)

    def resolve(self, loras: Sequence[WeightedLora], for_encoders: bool) -> AdapterSet:
        """Returns the adapters for the text encoders, or for the other networks. LoRAs of weight 0 are left out.

        Raises UnusableModel for a LoRA that does not fit.
        """
        key: dict[tuple[str, float], None] = {}
        parameters: dict[ParameterKey, list[tuple[Delta, float]]] = {}
        for lora in loras:
            if not lora.weight:
                continue
            for part, name, delta in self._list_deltas(lora):
                if part.component.startswith("text_encoder") == for_encoders:
                    parameters.setdefault((part.module, name), []).append((delta, lora.weight))
                    key[lora.fingerprint, lora.weight] = None
        return AdapterSet(tuple(key), parameters, can_apply_per_row(parameters))

    def _list_deltas(self, lora: WeightedLora) -> Iterator[tuple[LayerPart, str, Delta]]:
        """Yields what a LoRA adds to the weights and biases of layers."""
        changed: set[ParameterKey] = set()
        for layer, update in lora.layers.items():
            for name, delta in (("weight", update.weight), ("bias", update.bias)):
                for part, part_delta in self._split(lora, layer, name, delta) if delta is not None else ():
                    if (part.module, name) in changed:
                        raise UnusableModel(lora.id, f"it changes {layer} twice", "loras")
                    changed.add((part.module, name))
                    yield part, name, part_delta

    def _split(self, lora: WeightedLora, layer: str, name: str, delta: Delta) -> Iterable[tuple[LayerPart, Delta]]:
        """Returns the layers that a layer of the file is, with what is added to the parameter `name` of each."""
        parts = self.names.find(layer)
        if parts is None and is_zero(delta):
            return []
        if parts is None or not all(isinstance(getattr(part.module, name, None), nn.Parameter) for part in parts):
            missing = layer if parts is None else f"{layer}.{name}"
            raise UnusableModel(lora.id, f"this model has no {missing} for it to change", "loras")
        shapes = [get_matrix_shape(get_parameter((part.module, name))) for part in parts]
        expected = (sum(rows for rows, _ in shapes), shapes[0][1])
        if delta.shape != expected:
            found, needed = (f"{rows} x {columns}" for rows, columns in (delta.shape, expected))
            problem = f"it is {found} at {layer}, where this model is {needed}"
            raise UnusableModel(lora.id, problem, "loras")
        try:
            return [(part, delta if part.rows is None else delta.select_rows(part.rows)) for part in parts]
        except ValueError:
            problem = f"its dora_scale of {layer} is for layers that are one, and this model has several"
            raise UnusableModel(lora.id, problem, "loras") from None


def is_zero(delta: Delta) -> bool:
    """Returns whether a delta that is a product or a difference adds nothing, whatever it is for."""
    match delta:
        case LowRankDelta(down, up):
            return not (down.any() and up.any())
        case FullDelta(difference):
            return not difference.any()
    return False


def can_apply_per_row(parameters: Mapping[ParameterKey, WeightedDeltas]) -> bool:
    """Returns whether all that is added are low-rank products, to weights of layers with a cheap product."""
    return all(
        name == "weight" and isinstance(module, nn.Linear | nn.Conv2d) and isinstance(delta, LowRankDelta)
        for (module, name), deltas in parameters.items()
        for delta, _ in deltas
    )


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
            for key, deltas in adapters.parameters.items():
                weight = get_parameter(key)
                if weight not in self._original_weights:
                    self._original_weights[weight] = weight.detach().to("cpu", copy=True)
                weight.copy_(add_lora_deltas(weight, deltas))
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


def add_lora_deltas(weight: nn.Parameter, deltas: WeightedDeltas) -> Tensor:
    """Returns a weight with all LoRAs added to it, of the weight's shape, in float32."""
    original = weight.float().reshape(get_matrix_shape(weight))
    low_rank = [(delta, factor) for delta, factor in deltas if isinstance(delta, LowRankDelta)]
    changed = original
    if low_rank:
        up, down = concatenate_factors(low_rank, weight.device, torch.float32)
        changed = torch.addmm(original, up, down)
    for delta, factor in deltas:
        if not isinstance(delta, LowRankDelta):
            changed = changed + factor * delta.compute(original)
    return changed.view(weight.shape)


def concatenate_factors(
    deltas: Sequence[tuple[LowRankDelta, float]], device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Returns all that is added to a weight as two factors, of shapes (out, ranks) and (ranks, in)."""
    up = torch.cat([delta.up.to(device, dtype).flatten(1) * (delta.scale * w) for delta, w in deltas], dim=1)
    down = torch.cat([delta.down.to(device, dtype).flatten(1) for delta, _ in deltas])
    return up, down


def get_parameter(key: ParameterKey) -> nn.Parameter:
    module, name = key
    parameter = getattr(module, name)
    assert isinstance(parameter, nn.Parameter)
    return parameter


def get_matrix_shape(parameter: Tensor) -> tuple[int, int]:
    """Returns the shape of a parameter with all but its first dimension as one."""
    return parameter.shape[0], parameter[0].numel()
