"""Chooses the worker for the next job. Which job is next is decided in imagegen.jobs.queue."""

from __future__ import annotations

import time
from collections.abc import Callable

from imagegen.workers.registry import WorkerRegistry, WorkerStatus

# A worker that must load the model first counts as if it had this many more jobs.
LOADING_COST_JOBS = 4
# How long a job waits for a busy worker that has its model while another worker is free.
MAX_PREFERENCE_WAIT_SECONDS = 1.0


class WorkerScheduler:
    """Knows which workers have room, at most `max_running` jobs each, and how long the next job has waited.

    JobQueue has decided which job that is: the scheduler decides where it runs.
    """

    def __init__(self, registry: WorkerRegistry, max_running: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry, self.max_running, self._clock = registry, max_running, clock
        self._waiting_id, self._waiting_since = "", 0.0

    @property
    def seconds_left(self) -> float:
        """How long the job for which `choose` returned None last still waits for a worker that has its model."""
        return max(self._waiting_since + MAX_PREFERENCE_WAIT_SECONDS - self._clock(), 0.0)

    def has_room(self) -> bool:
        """Returns whether any worker can start a job."""
        return bool(self._list_free())

    def count_room(self) -> int:
        """Returns how many jobs the workers can start."""
        return sum(self.max_running - len(status.model_by_job) for status in self._list_free())

    def choose(self, job_id: str, model_id: str | None) -> str | None:
        """Returns the name of the worker for the job whose turn it is.

        None means that the job waits: for a worker with room, or, for at most MAX_PREFERENCE_WAIT_SECONDS from the
        first call, for one that has the model.
        """
        best = min(self._list_free(), key=lambda status: self._compute_cost(status, model_id), default=None)
        if best is None:
            return None
        if not best.has_model(model_id) and self._must_wait(job_id, model_id):
            return None
        return best.name

    def _list_free(self) -> list[WorkerStatus]:
        return [status for status in self.registry.list_ready() if len(status.model_by_job) < self.max_running]

    def _compute_cost(self, status: WorkerStatus, model_id: str | None) -> int:
        return len(status.model_by_job) + (0 if status.has_model(model_id) else LOADING_COST_JOBS)

    def _must_wait(self, job_id: str, model_id: str | None) -> bool:
        """Returns whether all workers with the model are busy, and the job has not waited long for one of them."""
        holders = [status for status in self.registry.list_ready() if status.has_model(model_id)]
        if not holders or any(len(status.model_by_job) < self.max_running for status in holders):
            return False
        if self._waiting_id != job_id:
            self._waiting_id, self._waiting_since = job_id, self._clock()
        return self.seconds_left > 0
