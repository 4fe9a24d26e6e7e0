"""The interface of a worker, for one device or for several."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, Protocol

from imagegen.schema.models import ModelSource
from imagegen.workers.messages import JobOrder, MakeMap, Report

WorkerState = Literal["warming up", "ready", "unavailable"]


class Worker(Protocol):
    """Takes jobs and sends reports. All methods but `start` and `stop` return at once.

    A pool has several `names`, one for each of its workers, which jobs and models are addressed to; any other worker
    has one.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """The names that `submit` and `warm` accept, and that reports carry."""

    async def start(self) -> None:
        """Starts to load the engine, and returns before it is loaded."""

    async def stop(self) -> None:
        """Stops the engine and ends `reports`. Running jobs are lost."""

    def submit(self, order: JobOrder, worker: str) -> None:
        """Runs a job on the named worker, beside the jobs that run there. That worker must be ready."""

    def cancel(self, job_id: str) -> None:
        """Ends a job at its next step, or at once while its model is read. Does nothing for one that does not run."""

    def finish_early(self, job_id: str) -> None:
        """Ends a job after its next step, with the pictures as they are then. Does nothing for one that does not run.

        A cancel after that has no effect.
        """

    def set_previews(self, job_id: str, wanted: bool) -> None:
        """Switches the previews of a job on or off: a preview costs time, and a job without viewers needs none."""

    def warm(self, model: ModelSource, worker: str, warm_id: str) -> None:
        """Loads a model onto the named worker's device as soon as there is room.

        The worker reports ModelWarmed with `warm_id`.
        """

    def cancel_warm(self, warm_id: str, worker: str) -> None:
        """Abandons the loading of a model as soon as that is safe, and frees its memory. Does nothing after its end.

        A job that waits for the same model still gets it.
        """

    def make_map(self, order: MakeMap, worker: str) -> None:
        """Makes a control map on the named worker, which reports MapMade."""

    def release(self, model_id: str) -> None:
        """Frees a model's memory on every worker that holds it, except where a job uses it."""

    def reports(self) -> AsyncIterator[Report]:
        """Yields all reports, in order for each worker, until the worker is stopped."""
