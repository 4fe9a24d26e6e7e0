"""Adapters put on a network for one job, and taken off again without a trace.

The factors of all LoRAs are multiplied out and added to the weights. What the weights were is kept in main memory:
to subtract again would leave rounding errors, and a picture without LoRAs must not tell who had one on before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from imagegen.engine.loading import Pipeline
from imagegen.engine.loras import Factors, Lora
from imagegen.errors import UnusableModel

# The class for text in transformers 5 has one level of names less than the files have.
OLD_LEVEL = "text_model."


class Wardrobe:
    """The LoRAs that one pipeline wears. A stack is put on as a whole; the same one again costs nothing."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._worn: tuple[tuple[str, float], ...] = ()
        self._clean: dict[nn.Parameter, Tensor] = {}
        self._weights: dict[tuple[str, str], nn.Parameter | None] = {}

    @torch.no_grad()
    def wear(self, stack: Mapping[str, tuple[Lora, float]]) -> None:
        """Each LoRA by its id, with its weight. Raises UnusableModel, and then wears nothing."""
        wanted = tuple((name, weight) for name, (_, weight) in stack.items() if weight)
        if wanted == self._worn:
            return
        self.take_off()
        sums = self._summed({name: stack[name] for name, _ in wanted})
        self._worn = wanted
        for parameter, parts in sums.items():
            if parameter not in self._clean:
                self._clean[parameter] = parameter.detach().to("cpu", copy=True)
            parameter.copy_(changed(parameter, parts))

    @torch.no_grad()
    def take_off(self) -> None:
        if self._worn:
            for parameter, clean in self._clean.items():
                parameter.copy_(clean)
        self._worn = ()

    def _weight(self, part: str, module: str) -> nn.Parameter | None:
        place = part, module
        if place not in self._weights:
            self._weights[place] = weight_of(getattr(self.pipeline, part, None), module)
        return self._weights[place]

    def _summed(self, stack: Mapping[str, tuple[Lora, float]]) -> dict[nn.Parameter, list[tuple[Factors, float]]]:
        """What each weight gets from the whole stack. Nothing is changed before all of it is known to fit."""
        sums: dict[nn.Parameter, list[tuple[Factors, float]]] = {}
        for name, (lora, weight) in stack.items():
            for (part, module), factors in lora.items():
                parameter = self._weight(part, module)
                if parameter is None:
                    raise UnusableModel(name, f"this model has no {part}.{module} for it to change", "loras")
                shape = (factors.up.shape[0], factors.down[0].numel())
                if shape != (parameter.shape[0], parameter[0].numel()):
                    problem = f"it is {shape[0]} x {shape[1]} at {part}.{module}, where this model is "
                    raise UnusableModel(name, f"{problem}{parameter.shape[0]} x {parameter[0].numel()}", "loras")
                sums.setdefault(parameter, []).append((factors, weight))
        return sums


def changed(parameter: nn.Parameter, parts: Sequence[tuple[Factors, float]]) -> Tensor:
    """A weight with all that is added to it, in float32: the factors side by side make one product."""
    device = parameter.device
    up = torch.cat([factors.up.to(device, torch.float32).flatten(1) * factors.scale * w for factors, w in parts], dim=1)
    down = torch.cat([factors.down.to(device, torch.float32).flatten(1) for factors, _ in parts])
    return torch.addmm(parameter.float().flatten(1), up, down).view(parameter.shape)


def weight_of(network: Any, module: str) -> nn.Parameter | None:
    """The weight of a layer of that name; None when there is no such layer."""
    for name in names(module):
        try:
            layer = network.get_submodule(name)
        except AttributeError:
            continue
        if isinstance(layer, nn.Linear | nn.Conv2d):
            weight = layer.weight
            assert isinstance(weight, nn.Parameter)
            return weight
    return None


def names(module: str) -> Iterable[str]:
    yield module
    yield module.removeprefix(OLD_LEVEL)
    yield OLD_LEVEL + module
