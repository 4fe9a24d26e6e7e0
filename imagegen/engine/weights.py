"""The numbers of a model: at home in main memory, and lent to a device.

They do not change there, but for LoRAs, which are taken off first. So a model leaves a device by being forgotten there,
and comes back by one copy. Where one of the same architecture leaves, its tensors are filled with the numbers of the
one that comes: what was recorded and compiled for these tensors goes on working.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

Signature = tuple[Any, ...]


class Weights:
    """All parameters and buffers of some networks, each once, where they are now: at home."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self._tensors = tensors_of(networks)
        self._home = [each.data for each in self._tensors]
        kinds = [type(network).__name__ for network in networks]
        self.signature: Signature = (*kinds, *((each.shape, each.dtype, each.stride()) for each in self._home))

    def lend(self, device: torch.device, place: Sequence[Tensor] | None = None) -> None:
        """To a device. `place` is what another model of the same signature left there."""
        place = place or [torch.empty_like(at_home, device=device) for at_home in self._home]
        for each, at_home, there in zip(self._tensors, self._home, place, strict=True):
            there.copy_(at_home, non_blocking=True)
            each.data = there

    def take_home(self) -> list[Tensor]:
        """Forgets them on the device; what held them there is left for another model."""
        left = [each.data for each in self._tensors]
        for each, at_home in zip(self._tensors, self._home, strict=True):
            each.data = at_home
        return left


def pin(networks: Sequence[nn.Module]) -> None:
    """Into memory that the system does not move, from which a GPU reads fastest; what there is no room for stays."""
    for each in tensors_of(networks):
        with suppress(RuntimeError):
            each.data = each.data.pin_memory()


def bytes_of(networks: Sequence[nn.Module], pinned: bool = False) -> int:
    """What they take of main memory, or would when `pinned`: that comes in powers of two."""
    sizes = ((each.nbytes, pinned or each.is_pinned()) for each in tensors_of(networks))
    return sum(1 << (size - 1).bit_length() if rounded and size else size for size, rounded in sizes)


def tensors_of(networks: Sequence[nn.Module]) -> list[Tensor]:
    found = {id(each): each for network in networks for each in (*network.parameters(), *network.buffers())}
    return list(found.values())
