"""The interface of a kind of ControlNets, those of one class in diffusers: what the engine does differently for it."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from imagegen.engine.batching.collate import DEFAULT_RULES, Arguments, BatchRules
from imagegen.engine.batching.network import BatchedNetwork
from imagegen.engine.families.base import ModelFamily
from imagegen.engine.protocols import Pipeline
from imagegen.schema.controls import ControlUse

# What is added to a call of the denoiser: features by the place where they are added, by the name of the argument.
# diffusers takes them as lists, except those of a UNet's middle, and those of Z-Image, which go by block.
Features = Tensor | Sequence[Tensor] | Mapping[int, Tensor]
Additions = Mapping[str, Features]


@dataclass(frozen=True)
class Control:
    """A ControlNet in use, in one stage of a job.

    `network` is the ControlNet, and `shared` its batched calls. `condition` is the control map as the ControlNet gets
    it, with one row. `type_index` is the number of the map's type among those of a union ControlNet, else None.
    """

    use: ControlUse
    kind: ControlNetKind
    network: Any
    shared: BatchedNetwork
    denoiser: Any
    pipeline: Pipeline
    condition: Tensor
    type_index: int | None = None

    def compute_additions(self, arguments: Arguments, pictures: int) -> Additions:
        """Returns what the ControlNet adds to a call of the denoiser for `pictures` pictures."""
        output = self.shared(**self.kind.build_call(self, arguments))
        assert isinstance(output, tuple)
        features = [each for each in output if isinstance(each, Tensor)]
        return self.kind.build_additions(self, features, arguments, pictures)


class ControlNetKind(ABC):
    """`network_class` is the class in diffusers. `batch_rules` say how calls of the ControlNet become one."""

    network_class: ClassVar[type[nn.Module]]
    batch_rules: ClassVar[BatchRules] = DEFAULT_RULES

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """The names of the parameters of a call."""
        return tuple(inspect.signature(self.network_class.forward).parameters)[1:]

    @abstractmethod
    def check(self, network: Any, denoiser: Any, pixels_per_latent: int) -> None:
        """Raises ValueError, with the problem, for a ControlNet that does not fit the denoiser."""

    @abstractmethod
    def build_condition(self, pixels: Tensor, network: Any, family: ModelFamily, pipeline: Pipeline) -> Tensor:
        """Returns a control map as the ControlNet gets it.

        `pixels` has numbers in 0..1, of shape (1, 3, height, width). `pipeline` is that of the job.
        """

    def needs_denoiser(self, network: Any) -> bool:
        """Returns whether the ControlNet lacks parts that it takes from the denoiser."""
        return False

    def complete(self, network: Any, denoiser: Any) -> nn.Module:
        """Returns a copy of a ControlNet that needs parts of a denoiser, with these parts, and any other as it is.

        The weights are shared.
        """
        complete: nn.Module = network
        return complete

    @abstractmethod
    def flatten_output(self, output: Any) -> tuple[Tensor, ...]:
        """Returns the features in the output of a call, each with one row per row of the call."""

    @abstractmethod
    def build_call(self, control: Control, arguments: Arguments) -> dict[str, object]:
        """Returns the arguments of the ControlNet for a call of the denoiser with these arguments.

        What is denoised comes first.
        """

    @abstractmethod
    def build_additions(
        self, control: Control, features: Sequence[Tensor], arguments: Arguments, pictures: int
    ) -> Additions:
        """Returns what a call of the denoiser with these arguments gets besides, as the control's weight says.

        `features` are those of `flatten_output`.
        """


def check_equal(network: Any, denoiser: Any, names: Sequence[str]) -> None:
    """Raises ValueError if a setting of a ControlNet and that of its denoiser differ."""
    for name in names:
        own, expected = (each.config.get(name) for each in (network, denoiser))
        if list_values(own) != list_values(expected):
            raise ValueError(f"its {name} is {own} instead of {expected}")


def list_values(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]
