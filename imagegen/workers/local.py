"""The engine in a child process: nothing that it does can take the web process down."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import imagegen
from imagegen.errors import WorkerDied
from imagegen.schema import Failed
from imagegen.workers.messages import REPORT, JobEvent, Load, Order, Report, WorkerGone, WorkerReady, line
from imagegen.workers.ordered import OrderedWorker

logger = logging.getLogger(__name__)

LONGEST_LINE = 2**24
TRIES = 3
PATIENCE = 5.0
HOPELESS = "it ends before its model is loaded; the log says why."
SECRETS = ("TOKEN", "SECRET", "PASSWORD", "KEY")


class LocalWorker(OrderedWorker):
    """Starts the child again whenever it dies; gives up when it dies TRIES times in a row before it is ready."""

    def __init__(self, load: Load) -> None:
        super().__init__(load)
        self.process: Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep_alive())

    async def stop(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self.process is not None:
            await end(self.process)
        self._reports.put_nowait(None)

    def _order(self, order: Order) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.write(line(order))

    async def _keep_alive(self) -> None:
        failures = 0
        while failures < TRIES:
            failures += 1
            self.process = await start_child()
            self._order(self.load)
            async for report in spoken(self.process):
                if isinstance(report, WorkerReady):
                    failures = 0
                self._note(report)
                if isinstance(report, WorkerGone):
                    return
            status = await self.process.wait()
            logger.error("The worker ended", extra={"action": "worker_ended", "status": status})
            # First that it is gone, then what that did to its jobs: or the next job would be sent to nobody.
            self._note(WorkerGone(reason=None if failures < TRIES else HOPELESS))
            self._fail_jobs()
            await asyncio.sleep(failures)

    def _fail_jobs(self) -> None:
        error = WorkerDied()
        for job_id in list(self._running):
            self._note(JobEvent(job_id=job_id, event=Failed(code=error.code, message=str(error))))


async def start_child() -> Process:
    """The child gets no secrets: it needs none, and it is where other people's models run."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith(SECRETS)}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "imagegen.workers.child",
        stdin=PIPE,
        stdout=PIPE,
        limit=LONGEST_LINE,
        cwd=Path(imagegen.__file__).parents[1],
        env={**environment, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"},
    )


async def spoken(process: Process) -> AsyncIterator[Report]:
    assert process.stdout is not None
    async for text in process.stdout:
        yield REPORT.validate_json(text)


async def end(process: Process) -> None:
    """Closing its input ends the child; one that does not listen is killed."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), PATIENCE)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
