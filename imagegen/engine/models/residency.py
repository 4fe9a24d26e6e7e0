"""Weights that stay in main memory and are copied to the device when the model is used.

Weights change on the device only by LoRAs, which are unmerged before a model leaves. So offloading drops the copy on
the device, and one copy brings the model back. When a model replaces another of the same architecture, its weights are
copied into the same device tensors, so that CUDA graphs and compiled code for those tensors stay valid.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

# Equal for models of the same architecture, whose tensors have the same shapes, types and strides.
Signature = tuple[Hashable, ...]


class WeightResidency:
    """The parameters and buffers of some networks, each once. They must be in main memory when this is created."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self._tensors = collect_tensors(networks)
        self._host_tensors = [each.data for each in self._tensors]
        class_names = [type(network).__name__ for network in networks]
        self.signature: Signature = (
            *class_names,
            *((each.shape, each.dtype, each.stride()) for each in self._host_tensors),
        )

    def copy_to_device(self, device: torch.device, buffers: Sequence[Tensor] | None = None) -> None:
        """Copies the weights to a device, into `buffers` where a model of the same signature left some."""
        buffers = buffers or [torch.empty_like(each, device=device) for each in self._host_tensors]
        for each, host_tensor, device_tensor in zip(self._tensors, self._host_tensors, buffers, strict=True):
            device_tensor.copy_(host_tensor, non_blocking=True)
            each.data = device_tensor

    def offload(self) -> list[Tensor]:
        """Goes back to the tensors in main memory. Returns the tensors on the device, for another model to use."""
        device_tensors = [each.data for each in self._tensors]
        for each, host_tensor in zip(self._tensors, self._host_tensors, strict=True):
            each.data = host_tensor
        return device_tensors


def pin_networks(networks: Sequence[nn.Module]) -> None:
    """Pins weights in main memory, from which a GPU copies fastest. A tensor that cannot be pinned stays as it is."""
    for each in collect_tensors(networks):
        with suppress(RuntimeError):
            each.data = each.data.pin_memory()


def measure_host_bytes(networks: Sequence[nn.Module], pinned: bool = False) -> int:
    """Returns the bytes that networks take in main memory, or would take if `pinned`, rounded up to powers of 2."""
    sizes = ((each.nbytes, pinned or each.is_pinned()) for each in collect_tensors(networks))
    return sum(1 << (size - 1).bit_length() if rounded and size else size for size, rounded in sizes)


def collect_tensors(networks: Sequence[nn.Module]) -> list[Tensor]:
    found = {id(each): each for network in networks for each in (*network.parameters(), *network.buffers())}
    return list(found.values())
