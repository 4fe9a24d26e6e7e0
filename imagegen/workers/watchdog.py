"""Decides when a worker must be restarted: it makes no progress with its jobs, or all of them run out of memory."""

from __future__ import annotations

import time
from collections.abc import Callable

from imagegen.errors import OutOfMemory, WorkerHung
from imagegen.schema.events import FINAL_EVENTS, Failed, Result
from imagegen.workers.messages import JobEvent, ModelsInMemory, Report

# A worker whose steps are slow gets this many times its longest wait between two steps so far.
STEP_TIMEOUT_FACTOR = 20
# After so many jobs in a row without enough memory, something may hold it that only a restart frees.
MAX_OUT_OF_MEMORY = 3


class Watchdog:
    """Follows the jobs and reports of one child process. All times are in seconds.

    `step_timeout` is the shortest time without progress that counts as hanging. `clock` returns the time.
    """

    def __init__(self, step_timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._step_timeout, self._clock = step_timeout, clock
        self._job_ids: set[str] = set()
        self._progressed_at = clock()
        self._longest_wait = 0.0
        self._out_of_memory = 0

    @property
    def has_exhausted_memory(self) -> bool:
        """Whether the last jobs all ran out of memory, and none runs now."""
        return self._out_of_memory >= MAX_OUT_OF_MEMORY and not self._job_ids

    def add_job(self, job_id: str) -> None:
        if not self._job_ids:
            self._progressed_at = self._clock()
        self._job_ids.add(job_id)

    def handle_report(self, report: Report) -> None:
        match report:
            case JobEvent(event=event):
                self._progress()
                if isinstance(event, FINAL_EVENTS):
                    self._job_ids.discard(report.job_id)
                match event:
                    case Result():
                        self._out_of_memory = 0
                    case Failed(code=OutOfMemory.code):
                        self._out_of_memory += 1
            case ModelsInMemory():
                self._progress()

    def check(self) -> None:
        """Raises WorkerHung."""
        waited = self._clock() - self._progressed_at
        if self._job_ids and waited > max(self._step_timeout, STEP_TIMEOUT_FACTOR * self._longest_wait):
            raise WorkerHung

    def _progress(self) -> None:
        if self._job_ids:
            self._longest_wait = max(self._longest_wait, self._clock() - self._progressed_at)
        self._progressed_at = self._clock()
