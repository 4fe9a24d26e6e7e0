"""The engine in this process, for hosts that forbid child processes. Its crash is everybody's."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from imagegen.errors import ImageGenError
from imagegen.schema import GenerationRequest
from imagegen.workers.base import Report, WorkerGone
from imagegen.workers.messages import Cancel, Load, Previews, Run

if TYPE_CHECKING:
    from imagegen.workers.desk import Desk

logger = logging.getLogger(__name__)


class InlineWorker:
    """Loads the engine in a thread, so that the page is served meanwhile."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self._desk: Desk | None = None
        self._reports: asyncio.Queue[Report | None] = asyncio.Queue()
        self._job_id = ""

    async def start(self) -> None:
        threading.Thread(target=self._open, args=(asyncio.get_running_loop(),), daemon=True).start()

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        def report(message: Report) -> None:
            loop.call_soon_threadsafe(self._reports.put_nowait, message)

        from imagegen.workers.desk import Desk  # noqa: PLC0415 It brings torch, which takes ten seconds.

        try:
            self._desk = Desk(self.load, report)
        except ImageGenError as error:
            report(WorkerGone(reason=str(error)))
        except Exception:
            logger.exception("The engine could not be loaded")
            report(WorkerGone(reason="its model cannot be loaded; the log says why."))

    async def stop(self) -> None:
        self.cancel(self._job_id)
        self._reports.put_nowait(None)

    def submit(self, job_id: str, request: GenerationRequest, previews: bool) -> None:
        self._job_id = job_id
        self._order(Run(job_id=job_id, request=request, previews=previews))

    def cancel(self, job_id: str) -> None:
        self._order(Cancel(job_id=job_id))

    def set_previews(self, job_id: str, wanted: bool) -> None:
        self._order(Previews(job_id=job_id, wanted=wanted))

    async def reports(self) -> AsyncIterator[Report]:
        while (report := await self._reports.get()) is not None:
            yield report

    def _order(self, order: Run | Cancel | Previews) -> None:
        if self._desk is not None:
            self._desk.obey(order)
