"""A worker whose engine runs in the web process, for hosts that forbid child processes. Its crash ends the studio."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

from imagegen.errors import ImageGenError
from imagegen.workers.command_worker import CommandWorker
from imagegen.workers.messages import Command, Report, WorkerConfig, WorkerGone

if TYPE_CHECKING:
    from imagegen.workers.engine_host import EngineHost

logger = logging.getLogger(__name__)


class InlineWorker(CommandWorker):
    """Loads the engine in a thread, so that the page is served meanwhile."""

    def __init__(self, config: WorkerConfig) -> None:
        super().__init__(config)
        self._host: EngineHost | None = None

    async def start(self) -> None:
        threading.Thread(target=self._start_engine, args=(asyncio.get_running_loop(),), daemon=True).start()

    def _start_engine(self, loop: asyncio.AbstractEventLoop) -> None:
        def forward(message: Report) -> None:
            loop.call_soon_threadsafe(self._handle_report, message)

        from imagegen.workers.engine_host import EngineHost  # noqa: PLC0415 It imports torch, which takes ten seconds.

        try:
            self._host = EngineHost(self.config, forward)
            self._host.start(self.config.model)
        except ImageGenError as error:
            forward(WorkerGone(worker=self.config.name, reason=str(error)))
        except Exception:
            logger.exception("The engine could not be loaded")
            forward(WorkerGone(worker=self.config.name, reason="its model cannot be loaded; the log says why."))

    async def stop(self) -> None:
        for job_id in self._running_ids:
            self.cancel(job_id)
        self._reports.put_nowait(None)

    def _send(self, command: Command) -> None:
        if self._host is not None:
            self._host.handle(command)
