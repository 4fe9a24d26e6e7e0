"""The base class of workers that take commands and queue up reports."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

from imagegen.errors import JobFailed
from imagegen.schema.events import FINAL_EVENTS, Failed
from imagegen.schema.models import ModelSource
from imagegen.workers.messages import (
    CancelJob,
    CancelWarm,
    Command,
    FinishJob,
    JobEvent,
    JobOrder,
    MakeMap,
    ReleaseModel,
    Report,
    SetPreviews,
    WarmModel,
    WorkerConfig,
)


class CommandWorker(ABC):
    """Turns calls into commands for one engine. Subclasses deliver them. None in the queue ends the reports."""

    def __init__(self, config: WorkerConfig) -> None:
        self.config = config
        self._running_ids: set[str] = set()
        self._reports: asyncio.Queue[Report | None] = asyncio.Queue()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.config.name,)

    def submit(self, order: JobOrder, worker: str) -> None:
        self._check_name(worker)
        self._running_ids.add(order.job_id)
        self._send(order)

    def cancel(self, job_id: str) -> None:
        self._send(CancelJob(job_id=job_id))

    def finish_early(self, job_id: str) -> None:
        self._send(FinishJob(job_id=job_id))

    def set_previews(self, job_id: str, wanted: bool) -> None:
        self._send(SetPreviews(job_id=job_id, is_wanted=wanted))

    def warm(self, model: ModelSource, worker: str, warm_id: str) -> None:
        self._check_name(worker)
        self._send(WarmModel(warm_id=warm_id, model=model))

    def cancel_warm(self, warm_id: str, worker: str) -> None:
        self._check_name(worker)
        self._send(CancelWarm(warm_id=warm_id))

    def make_map(self, order: MakeMap, worker: str) -> None:
        self._check_name(worker)
        self._send(order)

    def release(self, model_id: str) -> None:
        self._send(ReleaseModel(model_id=model_id))

    async def reports(self) -> AsyncIterator[Report]:
        while (report := await self._reports.get()) is not None:
            yield report

    def _check_name(self, worker: str) -> None:
        """Raises KeyError for the name of another worker, as a pool does."""
        if worker != self.config.name:
            raise KeyError(worker)

    def _handle_report(self, report: Report) -> None:
        if isinstance(report, JobEvent) and isinstance(report.event, FINAL_EVENTS):
            self._running_ids.discard(report.job_id)
        self._reports.put_nowait(report)

    def _fail_jobs(self, error: JobFailed) -> None:
        """Reports that all running jobs have failed."""
        for job_id in list(self._running_ids):
            failed = Failed(code=error.code, message=str(error))
            self._handle_report(JobEvent(worker=self.config.name, job_id=job_id, event=failed))

    @abstractmethod
    def _send(self, command: Command) -> None:
        """Delivers a command to the engine, without waiting for it."""
