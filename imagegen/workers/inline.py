"""A worker whose engine runs in the web process, for hosts that forbid child processes. Its crash ends the studio."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

from imagegen.errors import ImageGenError, WorkerHung
from imagegen.supervision import supervise
from imagegen.workers.command_worker import CommandWorker
from imagegen.workers.messages import Command, JobEvent, JobOrder, Report, WorkerConfig, WorkerGone, WorkerReady
from imagegen.workers.watchdog import Watchdog

if TYPE_CHECKING:
    from imagegen.workers.engine_host import EngineHost

logger = logging.getLogger(__name__)

CHECK_SECONDS = 0.5
HUNG_REASON = "its job makes no progress. It goes on when the job does; otherwise the studio must be started again."


class InlineWorker(CommandWorker):
    """Loads the engine in a thread, so that the page is served meanwhile.

    A thread cannot be killed. When the engine makes no progress, its jobs fail and the worker is unavailable until the
    engine reports something again.
    """

    def __init__(self, config: WorkerConfig) -> None:
        super().__init__(config)
        self._host: EngineHost | None = None
        self._watchdog = Watchdog(config.step_timeout)
        self._checks: asyncio.Task[None] | None = None
        self._ready: WorkerReady | None = None
        self._is_hung = False

    async def start(self) -> None:
        threading.Thread(target=self._start_engine, args=(asyncio.get_running_loop(),), daemon=True).start()
        self._checks = asyncio.create_task(supervise("inline worker", self._check_progress))

    def _start_engine(self, loop: asyncio.AbstractEventLoop) -> None:
        def forward(message: Report) -> None:
            loop.call_soon_threadsafe(self._receive, message)

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
        if self._checks is not None:
            self._checks.cancel()
        for job_id in self._running_ids:
            self.cancel(job_id)
        self._reports.put_nowait(None)

    def submit(self, order: JobOrder, worker: str) -> None:
        """Runs a job. One that is submitted before WorkerGone has been read fails as those that ran do."""
        super().submit(order, worker)
        self._watchdog.add_job(order.job_id)
        if self._is_hung:
            self._fail_jobs(WorkerHung())

    def _send(self, command: Command) -> None:
        if self._host is not None:
            self._host.handle(command)

    async def _check_progress(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                self._watchdog.check()
            except WorkerHung as error:
                self._give_up(error)

    def _give_up(self, error: WorkerHung) -> None:
        """Reports that the worker hangs, and ends its jobs, also for the engine as soon as it goes on."""
        logger.error("The engine hangs", extra={"action": "worker_hung", "worker": self.config.name})
        self._is_hung, self._watchdog = True, Watchdog(self.config.step_timeout)
        self._handle_report(WorkerGone(worker=self.config.name, reason=HUNG_REASON))
        for job_id in self._running_ids:
            self.cancel(job_id)
        self._fail_jobs(error)

    def _receive(self, report: Report) -> None:
        """Handles a report of the engine. Events of jobs that have failed meanwhile are left out."""
        self._watchdog.handle_report(report)
        if isinstance(report, WorkerReady):
            self._ready = report
        elif self._is_hung and self._ready is not None:
            self._is_hung = False
            self._handle_report(self._ready)
        if not isinstance(report, JobEvent) or report.job_id in self._running_ids:
            self._handle_report(report)
