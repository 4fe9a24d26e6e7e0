"""The networks in memory that jobs bring besides their model, such as ControlNets: each is read once, and shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from torch import nn

from imagegen.engine.batching.network import BatchedNetwork
from imagegen.engine.models.network_files import NetworkReader, load_network
from imagegen.engine.models.out_of_memory import release_unused_memory
from imagegen.engine.run_loop import run_in_thread, wait_for
from imagegen.library.weight_files import read_header
from imagegen.schema.models import AdapterSource, SourceKind


def keep_dtype(_: AdapterSource, dtype: torch.dtype) -> torch.dtype:
    return dtype


@dataclass(frozen=True)
class NetworkKind:
    """How networks of one kind are read, and how jobs share their calls; None if each job makes its own.

    `choose_dtype` returns the precision of a network on a device with that of models; it may raise what `read` raises.
    """

    read: NetworkReader
    share: Callable[[nn.Module], BatchedNetwork | None] | None = None
    choose_dtype: Callable[[AdapterSource, torch.dtype], torch.dtype] = keep_dtype


@dataclass
class LoadedNetwork:
    """A network on the device. Calls of `shared` are batched; None for a network whose jobs do not share calls.

    `shared_by_denoiser` has the batched calls of a network that needs parts of a denoiser.
    """

    source: AdapterSource
    network: nn.Module
    shared: BatchedNetwork | None
    size_bytes: int
    use_count: int = 0
    shared_by_denoiser: WeakKeyDictionary[nn.Module, BatchedNetwork] = field(default_factory=WeakKeyDictionary)


@dataclass(frozen=True)
class NetworkRead:
    """A network that is being read from disk. Its bytes count as used meanwhile."""

    size_bytes: int
    network: Future[nn.Module]


class NetworkCache:
    """Used by the run loop's thread. Networks stay on the device until a model or another one needs the memory.

    `kinds` are those of adapters that are networks. `on_change` is called when networks come or go.
    """

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype,
        kinds: Mapping[SourceKind, NetworkKind],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.device, self.dtype, self.kinds, self.on_change = device, dtype, kinds, on_change
        # By path and checksum of the weights; the one used last is at the end.
        self._loaded: dict[tuple[Path, str], LoadedNetwork] = {}
        # Those that are being read.
        self._reads: dict[tuple[Path, str], NetworkRead] = {}

    @property
    def total_bytes(self) -> int:
        """Bytes of all networks on the device, and of those that are on their way there."""
        return sum(each.size_bytes for each in self._loaded.values()) + self._expected_bytes

    @property
    def used_bytes(self) -> int:
        """Bytes of those that jobs use, and of those that are on their way to the device."""
        return sum(each.size_bytes for each in self._loaded.values() if each.use_count) + self._expected_bytes

    @property
    def _expected_bytes(self) -> int:
        return sum(read.size_bytes for read in self._reads.values())

    def drop_idle(self) -> None:
        """Drops those that no job uses."""
        self._keep({key: each for key, each in self._loaded.items() if each.use_count})

    def release(self, network_id: str) -> None:
        """Drops the networks with this id, unless they are in use."""
        others = {key: each for key, each in self._loaded.items() if each.source.id != network_id or each.use_count}
        self._keep(others)

    def _keep(self, kept: dict[tuple[Path, str], LoadedNetwork]) -> None:
        has_changed = len(kept) < len(self._loaded)
        self._loaded = kept
        if has_changed:
            release_unused_memory()
            self.on_change()

    @contextmanager
    def use(
        self,
        adapters: Sequence[AdapterSource],
        make_room: Callable[[str, int], None],
        on_loading: Callable[[AdapterSource], None],
    ) -> Iterator[list[LoadedNetwork]]:
        """Yields those of a job's adapters that are networks, in their order. They stay meanwhile.

        `make_room` frees bytes on the device for the named one. Calls `on_loading` for each that is not there yet.
        Raises ModelLoadFailed, and what `make_room` raises.
        """
        used: list[LoadedNetwork] = []
        try:
            for source in adapters:
                if source.kind not in self.kinds:
                    continue
                if get_key(source) not in self._loaded:
                    on_loading(source)
                used.append(self._load(source, make_room))
                used[-1].use_count += 1
            yield used
        finally:
            for each in used:
                each.use_count -= 1

    def _load(self, source: AdapterSource, make_room: Callable[[str, int], None]) -> LoadedNetwork:
        """Returns a network. Other tasks go on while it is read from disk; those that want it too wait for it."""
        key, kind = get_key(source), self.kinds[source.kind]
        if key not in self._loaded:
            read = self._reads.get(key) or self._start_read(source, make_room)
            try:
                network = wait_for(read.network)
            finally:
                self._reads.pop(key, None)
            if key not in self._loaded:
                shared = kind.share(network) if kind.share is not None else None
                self._loaded[key] = LoadedNetwork(source, network, shared, read.size_bytes)
                self.on_change()
        loaded = self._loaded.pop(key)
        self._loaded[key] = loaded
        return loaded

    def _start_read(self, source: AdapterSource, make_room: Callable[[str, int], None]) -> NetworkRead:
        kind = self.kinds[source.kind]
        dtype = kind.choose_dtype(source, self.dtype)
        size = read_header(source.path).parameter_count * dtype.itemsize
        make_room(source.name, size)
        future = run_in_thread(lambda: load_network(source, kind.read, self.device, dtype))
        read = self._reads[get_key(source)] = NetworkRead(size, future)
        return read


def get_key(source: AdapterSource) -> tuple[Path, str]:
    """Returns what tells a network from others: the same weights may have another configuration elsewhere."""
    return source.path, source.sha256
