"""The ControlNets in memory: each is read once, and shared by the jobs that need it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import ControlNetModel
from torch import nn

from imagegen.engine.batching.collate import DEFAULT_RULES, NetworkOutput
from imagegen.engine.batching.network import BatchedNetwork
from imagegen.engine.compile.accelerator import Accelerator
from imagegen.engine.controls.loading import load_controlnet
from imagegen.engine.models.out_of_memory import release_unused_memory
from imagegen.engine.run_loop import run_in_thread, wait_for
from imagegen.library.weight_files import read_header
from imagegen.schema.models import AdapterSource

PARAMETER_NAMES = tuple(inspect.signature(ControlNetModel.forward).parameters)[1:]


@dataclass
class LoadedControlNet:
    """A ControlNet on the device. Calls of `shared`, its network, are batched."""

    source: AdapterSource
    network: nn.Module
    shared: BatchedNetwork
    size_bytes: int
    use_count: int = 0


class ControlNetCache:
    """Used by the run loop's thread. ControlNets stay on the device until a model or another one needs the memory.

    `on_change` is called when ControlNets come or go.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, on_change: Callable[[], None] = lambda: None) -> None:
        self.device, self.dtype, self.on_change = device, dtype, on_change
        # By path and checksum of the weights; the one used last is at the end.
        self._loaded: dict[tuple[Path, str], LoadedControlNet] = {}

    @property
    def total_bytes(self) -> int:
        """Bytes of all ControlNets on the device."""
        return sum(each.size_bytes for each in self._loaded.values())

    @property
    def used_bytes(self) -> int:
        """Bytes of those that jobs use."""
        return sum(each.size_bytes for each in self._loaded.values() if each.use_count)

    def drop_idle(self) -> None:
        """Drops those that no job uses."""
        self._keep({key: each for key, each in self._loaded.items() if each.use_count})

    def release(self, controlnet_id: str) -> None:
        """Drops a ControlNet, unless it is in use or not there."""
        others = {key: each for key, each in self._loaded.items() if each.source.id != controlnet_id or each.use_count}
        self._keep(others)

    def _keep(self, kept: dict[tuple[Path, str], LoadedControlNet]) -> None:
        has_changed = len(kept) < len(self._loaded)
        self._loaded = kept
        if has_changed:
            release_unused_memory()
            self.on_change()

    @contextmanager
    def use(
        self,
        sources: Sequence[AdapterSource],
        make_room: Callable[[str, int], None],
        on_loading: Callable[[AdapterSource], None],
    ) -> Iterator[list[LoadedControlNet]]:
        """Yields the ControlNets of a job, which stay meanwhile.

        `make_room` frees bytes on the device for the named one. Calls `on_loading` for each that is not there yet.
        Raises ModelLoadFailed, and what `make_room` raises.
        """
        used: list[LoadedControlNet] = []
        try:
            for source in sources:
                if get_key(source) not in self._loaded:
                    on_loading(source)
                used.append(self._load(source, make_room))
                used[-1].use_count += 1
            yield used
        finally:
            for each in used:
                each.use_count -= 1

    def _load(self, source: AdapterSource, make_room: Callable[[str, int], None]) -> LoadedControlNet:
        """Returns a ControlNet. Other tasks go on while it is read from disk."""
        key = get_key(source)
        if key not in self._loaded:
            size = read_header(source.path).parameter_count * self.dtype.itemsize
            make_room(source.name, size)
            network = wait_for(run_in_thread(lambda: load_controlnet(source, self.device, self.dtype)))
            # Another task may have read it meanwhile.
            self._loaded.setdefault(key, LoadedControlNet(source, network, share_network(network), size))
            self.on_change()
        loaded = self._loaded.pop(key)
        self._loaded[key] = loaded
        return loaded


def get_key(source: AdapterSource) -> tuple[Path, str]:
    """Returns what tells a ControlNet from others: the same weights may have another configuration elsewhere."""
    return source.path, source.sha256


def share_network(network: nn.Module) -> BatchedNetwork:
    """Returns the network with batched calls. Their output is a tuple of features, with the innermost last."""

    def forward(**arguments: object) -> NetworkOutput:
        down, mid = network(**arguments)
        return (*down, mid)

    accelerator = Accelerator(forward, network, "forward", None, DEFAULT_RULES)
    return BatchedNetwork(PARAMETER_NAMES, accelerator, DEFAULT_RULES, precedes_denoiser=True)
