"""What workers have in common that hear orders and queue up reports."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

from imagegen.info import ModelSource
from imagegen.schema import LAST_EVENTS
from imagegen.workers.messages import Cancel, JobEvent, Load, Order, Previews, Release, Report, Run, Warm


class OrderedWorker(ABC):
    """Turns calls into orders; what becomes of an order is the worker's own affair. None ends the reports."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self._running: set[str] = set()
        self._reports: asyncio.Queue[Report | None] = asyncio.Queue()

    def submit(self, run: Run) -> None:
        self._running.add(run.job_id)
        self._order(run)

    def cancel(self, job_id: str) -> None:
        self._order(Cancel(job_id=job_id))

    def set_previews(self, job_id: str, wanted: bool) -> None:
        self._order(Previews(job_id=job_id, wanted=wanted))

    def warm(self, model: ModelSource) -> None:
        self._order(Warm(model=model))

    def release(self, model_id: str) -> None:
        self._order(Release(model_id=model_id))

    async def reports(self) -> AsyncIterator[Report]:
        while (report := await self._reports.get()) is not None:
            yield report

    def _note(self, report: Report) -> None:
        if isinstance(report, JobEvent) and isinstance(report.event, LAST_EVENTS):
            self._running.discard(report.job_id)
        self._reports.put_nowait(report)

    @abstractmethod
    def _order(self, order: Order) -> None:
        """Passes an order on, and does not wait."""
