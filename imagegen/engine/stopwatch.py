"""What a pass of a network takes of time and memory, without making the device wait for the answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from imagegen.engine.pace import Pace


@dataclass
class Stopwatch:
    """`passes` and `rows` count what ran; `peak` is in bytes. `kept` says how many of the device are for recordings."""

    device: torch.device
    kept: Callable[[], int]
    passes: int = 0
    rows: int = 0
    peak: int = 0
    _running: list[tuple[Pace, int, Any, Any]] = field(default_factory=list)

    @contextmanager
    def running(self, pace: Pace, rows: int, recorded: Callable[[], bool]) -> Iterator[None]:
        """Around one pass. What fails is not counted. What is `recorded` by its end says nothing of memory."""
        if self.device.type == "cuda":
            with self._on_gpu(pace, rows, recorded):
                yield
        else:
            began = time.perf_counter()
            yield
            pace.took(rows, time.perf_counter() - began)
        self.passes += 1
        self.rows += rows

    @contextmanager
    def _on_gpu(self, pace: Pace, rows: int, recorded: Callable[[], bool]) -> Iterator[None]:
        before = torch.cuda.memory_allocated()
        self._note_peak()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        yield
        end.record()
        self._running.append((pace, rows, start, end))
        if recorded():
            return
        extra = torch.cuda.max_memory_allocated() - before
        free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - self.kept() - before
        pace.needed(rows, extra, free)

    def begin(self) -> None:
        """The device was idle until now."""
        self._note_peak()
        self.peak = 0

    def peak_mb(self) -> float | None:
        """The most of a GPU's memory that was taken since it was idle, in MiB. None without one.

        Recorded passes keep theirs: it is not seen to be in use, but it is taken.
        """
        self._note_peak()
        return self.peak / 2**20 if self.device.type == "cuda" else None

    def _note_peak(self) -> None:
        if self.device.type == "cuda":
            self.peak = max(self.peak, torch.cuda.max_memory_reserved())
            torch.cuda.reset_peak_memory_stats()

    def read(self) -> None:
        """Tells the paces of the passes that have ended on a GPU since."""
        while self._running and self._running[0][3].query():
            pace, rows, start, end = self._running.pop(0)
            pace.took(rows, start.elapsed_time(end) / 1000)
