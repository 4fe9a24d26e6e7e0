"""The engine in this process, for hosts that forbid child processes. Its crash is everybody's."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

from imagegen.errors import ImageGenError
from imagegen.workers.messages import Load, Order, Report, WorkerGone
from imagegen.workers.ordered import OrderedWorker

if TYPE_CHECKING:
    from imagegen.workers.desk import Desk

logger = logging.getLogger(__name__)


class InlineWorker(OrderedWorker):
    """Loads the engine in a thread, so that the page is served meanwhile."""

    def __init__(self, load: Load) -> None:
        super().__init__(load)
        self._desk: Desk | None = None

    async def start(self) -> None:
        threading.Thread(target=self._open, args=(asyncio.get_running_loop(),), daemon=True).start()

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        def report(message: Report) -> None:
            loop.call_soon_threadsafe(self._note, message)

        from imagegen.workers.desk import Desk  # noqa: PLC0415 It brings torch, which takes ten seconds.

        try:
            self._desk = Desk(self.load, report)
            self._desk.open(self.load.model)
        except ImageGenError as error:
            report(WorkerGone(reason=str(error)))
        except Exception:
            logger.exception("The engine could not be loaded")
            report(WorkerGone(reason="its model cannot be loaded; the log says why."))

    async def stop(self) -> None:
        for job_id in self._running:
            self.cancel(job_id)
        self._reports.put_nowait(None)

    def _order(self, order: Order) -> None:
        if self._desk is not None:
            self._desk.obey(order)
