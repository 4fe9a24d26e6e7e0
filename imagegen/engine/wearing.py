"""Adapters put on a network for one job, and taken off again without a trace.

The factors of all LoRAs are multiplied out and added to the weights. What the weights were is kept in main memory:
to subtract again would leave rounding errors, and a picture without LoRAs must not tell who had one on before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from imagegen.engine.loading import Pipeline
from imagegen.engine.loras import Factors, Lora
from imagegen.errors import UnusableModel

# The class for text in transformers 5 has one level of names less than the files have.
OLD_LEVEL = "text_model."


@dataclass(frozen=True)
class Worn:
    """A LoRA in a stack. `sha256` is of its file: the same name may be another one tomorrow."""

    id: str
    sha256: str
    lora: Lora
    weight: float

    @property
    def key(self) -> tuple[str, float]:
        return self.sha256, self.weight


class Wardrobe:
    """The LoRAs that one pipeline wears. A stack is put on as a whole; the same one again costs nothing."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._worn: tuple[tuple[str, float], ...] = ()
        self._clean: dict[nn.Parameter, Tensor] = {}
        self._weights: dict[tuple[str, str], nn.Parameter | None] = {}

    @torch.no_grad()
    def wear(self, stack: Sequence[Worn]) -> None:
        """Those of weight 0 are left out. Raises UnusableModel, and then wears nothing."""
        stack = [each for each in stack if each.weight]
        wanted = tuple(each.key for each in stack)
        if wanted == self._worn:
            return
        sums = self._summed(stack)
        self.take_off()
        try:
            for parameter, parts in sums.items():
                if parameter not in self._clean:
                    self._clean[parameter] = parameter.detach().to("cpu", copy=True)
                parameter.copy_(changed(parameter, parts))
        except BaseException:
            self._restore()
            raise
        self._worn = wanted

    def take_off(self) -> None:
        if self._worn:
            self._restore()

    def empty(self) -> None:
        """Takes everything off, and frees what is kept for that."""
        self.take_off()
        self._clean.clear()

    @torch.no_grad()
    def _restore(self) -> None:
        self._worn = ()
        for parameter, clean in self._clean.items():
            parameter.copy_(clean)

    def _weight(self, part: str, module: str) -> nn.Parameter | None:
        place = part, module
        if place not in self._weights:
            self._weights[place] = weight_of(getattr(self.pipeline, part, None), module)
        return self._weights[place]

    def _summed(self, stack: Sequence[Worn]) -> dict[nn.Parameter, list[tuple[Factors, float]]]:
        """What each weight gets from the whole stack. Nothing is changed before all of it is known to fit."""
        sums: dict[nn.Parameter, list[tuple[Factors, float]]] = {}
        for worn in stack:
            for (part, module), factors in worn.lora.items():
                parameter = self._weight(part, module)
                if parameter is None:
                    raise UnusableModel(worn.id, f"this model has no {part}.{module} for it to change", "loras")
                shape = (factors.up.shape[0], factors.down[0].numel())
                if shape != (parameter.shape[0], parameter[0].numel()):
                    problem = f"it is {shape[0]} x {shape[1]} at {part}.{module}, where this model is "
                    raise UnusableModel(worn.id, f"{problem}{parameter.shape[0]} x {parameter[0].numel()}", "loras")
                sums.setdefault(parameter, []).append((factors, worn.weight))
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
