"""Measures the time and the memory of forward passes, without waiting for the device."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from imagegen.engine.batching.batch_size import BatchSizer


@dataclass
class PassTimer:
    """`passes` and `rows` count what ran; `measure_graph_bytes` gives the bytes of CUDA graphs."""

    device: torch.device
    measure_graph_bytes: Callable[[], int]
    passes: int = 0
    rows: int = 0
    peak_bytes: int = 0
    # Passes whose time is not known yet, with the events of their start and end.
    _pending: list[tuple[BatchSizer, int, torch.cuda.Event, torch.cuda.Event]] = field(default_factory=list)

    @contextmanager
    def measure(self, sizer: BatchSizer, rows: int, has_graph: Callable[[], bool]) -> Iterator[None]:
        """Measures one pass; a failed one is not counted. The memory of a pass that became a CUDA graph is unknown."""
        if self.device.type == "cuda":
            with self._measure_on_gpu(sizer, rows, has_graph):
                yield
        else:
            started_at = time.perf_counter()
            yield
            sizer.record_duration(rows, time.perf_counter() - started_at)
        self.passes += 1
        self.rows += rows

    @contextmanager
    def _measure_on_gpu(self, sizer: BatchSizer, rows: int, has_graph: Callable[[], bool]) -> Iterator[None]:
        before = torch.cuda.memory_allocated()
        self._update_peak()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        yield
        end.record()
        self._pending.append((sizer, rows, start, end))
        if has_graph():
            return
        extra = torch.cuda.max_memory_allocated() - before
        free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - self.measure_graph_bytes() - before
        sizer.record_memory(rows, extra, free)

    def reset_peak(self) -> None:
        """Forgets the peak, when the device was idle until now."""
        self._update_peak()
        self.peak_bytes = 0

    def get_peak_mb(self) -> float | None:
        """Returns the most memory that torch reserved on the GPU since it was idle, in MiB; None without a GPU.

        Reserved, since the memory of CUDA graphs does not count as allocated.
        """
        self._update_peak()
        return self.peak_bytes / 2**20 if self.device.type == "cuda" else None

    def _update_peak(self) -> None:
        if self.device.type == "cuda":
            self.peak_bytes = max(self.peak_bytes, torch.cuda.max_memory_reserved())
            torch.cuda.reset_peak_memory_stats()

    def collect(self) -> None:
        """Records the times of the passes that have ended on the GPU since the last call."""
        while self._pending and self._pending[0][3].query():
            sizer, rows, start, end = self._pending.pop(0)
            sizer.record_duration(rows, start.elapsed_time(end) / 1000)
