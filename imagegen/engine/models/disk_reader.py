"""Reads models from disk in other threads, while the tasks of the run loop go on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock

import torch

from imagegen.engine.models.loading import load_pipeline
from imagegen.engine.models.measure_memory import list_networks
from imagegen.engine.models.memory_format import prepare_for_inference
from imagegen.engine.models.residency import measure_host_bytes, pin_networks
from imagegen.engine.protocols import Pipeline
from imagegen.engine.run_loop import run_in_thread, wait_for
from imagegen.schema.models import ModelSource


@dataclass
class Read:
    """A model that is being read, its expected size in bytes, and for each task that waits whether it was cancelled.

    Its thread looks at the tasks. The future has None if the read was abandoned, because all of them were cancelled.
    """

    expected_bytes: int
    waiting: list[Callable[[], bool]]
    pipeline: Future[Pipeline | None] = field(init=False)

    def has_waiting(self) -> bool:
        """Whether any task still wants it."""
        return not all(is_cancelled() for is_cancelled in tuple(self.waiting))


class DiskReader:
    """Used by one thread. Models are read one at a time; tasks that want the same model wait for the same read."""

    def __init__(self) -> None:
        self._reads: dict[ModelSource, Read] = {}
        self._lock = Lock()

    def __contains__(self, source: object) -> bool:
        return source in self._reads

    @property
    def is_idle(self) -> bool:
        return not self._reads

    @property
    def expected_bytes(self) -> int:
        """Bytes of main memory that the models being read will take."""
        return sum(read.expected_bytes for read in self._reads.values())

    def start(
        self,
        source: ModelSource,
        dtype: torch.dtype,
        expected_bytes: int,
        pinned_limit: float,
        is_cancelled: Callable[[], bool],
    ) -> None:
        """Begins to read a model, which is pinned in main memory if it takes at most `pinned_limit` bytes there.

        `is_cancelled` is of the task that wants it.
        """
        read = self._reads[source] = Read(expected_bytes, [is_cancelled])
        read.pipeline = run_in_thread(lambda: self._read(read, source, dtype, pinned_limit))

    def finish(self, source: ModelSource, is_cancelled: Callable[[], bool]) -> Pipeline | None:
        """Waits for a read that was started, and returns the pipeline, or None if the read was abandoned.

        Raises ModelLoadFailed and PackageMissing.
        """
        read = self._reads[source]
        read.waiting.append(is_cancelled)
        try:
            return wait_for(read.pipeline)
        finally:
            if self._reads.get(source) is read:  # Another task may have begun the next read.
                del self._reads[source]

    def _read(self, read: Read, source: ModelSource, dtype: torch.dtype, pinned_limit: float) -> Pipeline | None:
        """diffusers cannot be interrupted while it loads a pipeline."""
        with self._lock:
            if not read.has_waiting():
                return None
            pipeline = load_pipeline(source, dtype)
            if not read.has_waiting():
                return None
            pipeline = prepare_for_inference(pipeline, source)
        networks = list_networks(pipeline)
        if pinned_limit and measure_host_bytes(networks, pinned=True) <= pinned_limit:
            pin_networks(networks)
        return pipeline
