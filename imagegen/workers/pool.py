"""Several workers behind the interface of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from imagegen.schema.events import FINAL_EVENTS
from imagegen.schema.models import ModelSource
from imagegen.workers.base import Worker
from imagegen.workers.messages import JobEvent, JobOrder, MakeMap, Report


class WorkerPool:
    """Routes jobs and models to the named worker, and merges the reports of all workers.

    The workers are independent: one that dies ends its own jobs, and its reports say so.
    """

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = {name: worker for worker in workers for name in worker.names}
        self._worker_by_job: dict[str, Worker] = {}
        self._reports: asyncio.Queue[Report | None] = asyncio.Queue()
        self._forwarding: list[asyncio.Task[None]] = []

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._workers)

    async def start(self) -> None:
        await asyncio.gather(*(worker.start() for worker in self._workers.values()))
        self._forwarding = [asyncio.create_task(self._forward(worker)) for worker in self._workers.values()]

    async def stop(self) -> None:
        await asyncio.gather(*(worker.stop() for worker in self._workers.values()))
        await asyncio.gather(*self._forwarding)
        self._reports.put_nowait(None)

    def submit(self, order: JobOrder, worker: str) -> None:
        """Raises KeyError for an unknown name."""
        self._worker_by_job[order.job_id] = self._workers[worker]
        self._workers[worker].submit(order, worker)

    def cancel(self, job_id: str) -> None:
        if (worker := self._worker_by_job.get(job_id)) is not None:
            worker.cancel(job_id)

    def finish_early(self, job_id: str) -> None:
        if (worker := self._worker_by_job.get(job_id)) is not None:
            worker.finish_early(job_id)

    def set_previews(self, job_id: str, wanted: bool) -> None:
        if (worker := self._worker_by_job.get(job_id)) is not None:
            worker.set_previews(job_id, wanted)

    def warm(self, model: ModelSource, worker: str, warm_id: str) -> None:
        """Raises KeyError for an unknown name."""
        self._workers[worker].warm(model, worker, warm_id)

    def cancel_warm(self, warm_id: str, worker: str) -> None:
        """Raises KeyError for an unknown name."""
        self._workers[worker].cancel_warm(warm_id, worker)

    def make_map(self, order: MakeMap, worker: str) -> None:
        """Raises KeyError for an unknown name."""
        self._workers[worker].make_map(order, worker)

    def release(self, model_id: str) -> None:
        for worker in self._workers.values():
            worker.release(model_id)

    async def reports(self) -> AsyncIterator[Report]:
        while (report := await self._reports.get()) is not None:
            yield report

    async def _forward(self, worker: Worker) -> None:
        async for report in worker.reports():
            if isinstance(report, JobEvent) and isinstance(report.event, FINAL_EVENTS):
                self._worker_by_job.pop(report.job_id, None)
            self._reports.put_nowait(report)
