"""A worker whose engine runs in a child process: its crash does not end the web process."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import imagegen
from imagegen.errors import JobFailed, OutOfMemory, WorkerDied, WorkerHung
from imagegen.workers.command_worker import CommandWorker
from imagegen.workers.devices import select_gpu
from imagegen.workers.messages import (
    REPORT_ADAPTER,
    Command,
    Heartbeat,
    JobOrder,
    Report,
    WorkerConfig,
    WorkerGone,
    WorkerReady,
    encode_line,
)
from imagegen.workers.watchdog import Watchdog

logger = logging.getLogger(__name__)

MAX_LINE_BYTES = 2**24
MAX_START_ATTEMPTS = 3
RETRY_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 5.0
START_FAILED_REASON = "it ends before its model is loaded; the log says why."
SECRET_SUFFIXES = ("TOKEN", "SECRET", "PASSWORD", "KEY")


class LocalWorker(CommandWorker):
    """Restarts the child when it ends or hangs, and when several jobs in a row ran out of memory.

    After MAX_START_ATTEMPTS failed starts in a row the worker is unavailable, and tries again every RETRY_SECONDS.
    """

    def __init__(self, config: WorkerConfig) -> None:
        super().__init__(config)
        self.process: Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._is_running = False
        self._watchdog = Watchdog(config.step_timeout)

    async def start(self) -> None:
        self._supervisor = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        if self.process is not None:
            await stop_process(self.process)
        self._reports.put_nowait(None)

    def submit(self, order: JobOrder, worker: str) -> None:
        """Runs a job. One that is submitted before WorkerGone has been read fails as those that ran do."""
        super().submit(order, worker)
        self._watchdog.add_job(order.job_id)
        if not self._is_running:
            self._fail_jobs(WorkerDied())

    def _send(self, command: Command) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.write(encode_line(command))

    async def _supervise(self) -> None:
        failed_starts = 0
        while True:
            end = await self._run_child()
            failed_starts = 0 if end.was_ready else failed_starts + 1
            has_given_up = failed_starts >= MAX_START_ATTEMPTS
            reason = end.reason or (START_FAILED_REASON if has_given_up else None)
            # WorkerGone comes before the failures of its jobs, or the next job would be submitted to a dead worker.
            # Nothing may be awaited since the last report, or a job could be submitted in between.
            self._handle_report(WorkerGone(worker=self.config.name, reason=reason))
            self._fail_jobs(end.error)
            status = await self._end_child()
            log_fields = {"action": "worker_ended", "worker": self.config.name, "status": status}
            logger.error("The worker ended: %s", end.error.code, extra=log_fields)
            await asyncio.sleep(failed_starts if reason is None else RETRY_SECONDS)

    async def _run_child(self) -> ChildEnd:
        """Starts a child and handles its reports, until it ends, hangs, cannot start or writes no valid report."""
        end = ChildEnd()
        try:
            self.process = await start_child(self.config)
            self._watchdog = Watchdog(self.config.step_timeout)
            self._send(self.config)
            self._is_running = True
            async for report in read_reports(self.process, self.config.heartbeat_timeout):
                self._watchdog.handle_report(report)
                self._watchdog.check()
                match report:
                    case Heartbeat():
                        pass
                    case WorkerGone(reason=reason):
                        end.reason = reason
                        break
                    case _:
                        end.was_ready = end.was_ready or isinstance(report, WorkerReady)
                        self._handle_report(report)
                if self._watchdog.has_exhausted_memory:
                    end.error = OutOfMemory()
                    break
        except WorkerHung as error:
            end.error = error
        except Exception:
            logger.exception("The worker could not be followed", extra={"action": "worker_failed"})
        self._is_running = False
        return end

    async def _end_child(self) -> int | None:
        """Kills the child if it still runs. Returns its exit status; None if none was ever started."""
        return await kill_process(self.process) if self.process is not None else None


@dataclass
class ChildEnd:
    """How a child ended: whether it was ready before, what its jobs fail with, and why it cannot start again."""

    was_ready: bool = False
    error: JobFailed = field(default_factory=WorkerDied)
    reason: str | None = None


async def start_child(config: WorkerConfig) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "imagegen.workers.child",
        stdin=PIPE,
        stdout=PIPE,
        limit=MAX_LINE_BYTES,
        cwd=Path(imagegen.__file__).parents[1],
        env=build_environment(config, os.environ),
    )


def build_environment(config: WorkerConfig, environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the child's environment variables.

    It gets no secrets: it needs none, and it loads models from strangers. It sees one GPU if `gpu_index` names one.
    """
    variables = {name: value for name, value in environment.items() if not name.endswith(SECRET_SUFFIXES)}
    if config.gpu_index is not None:
        variables["CUDA_VISIBLE_DEVICES"] = select_gpu(config.gpu_index, environment.get("CUDA_VISIBLE_DEVICES"))
    return {**variables, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}


async def read_reports(process: Process, heartbeat_timeout: float) -> AsyncIterator[Report]:
    """Yields the child's reports until it closes its standard output.

    Raises WorkerHung after `heartbeat_timeout` seconds without a report, and ValueError for a line that is none.
    """
    assert process.stdout is not None
    while True:
        try:
            async with asyncio.timeout(heartbeat_timeout):
                text = await process.stdout.readline()
        except TimeoutError:
            raise WorkerHung from None
        if not text:
            return
        yield REPORT_ADAPTER.validate_json(text)


async def stop_process(process: Process) -> None:
    """Closes the child's standard input, which ends it, and kills it if it does not end in STOP_TIMEOUT_SECONDS."""
    try:
        async with asyncio.timeout(STOP_TIMEOUT_SECONDS):
            await process.communicate(b"")
    except TimeoutError:
        await kill_process(process)


async def kill_process(process: Process) -> int | None:
    """Kills a process that may have ended. Returns its exit status.

    `wait` alone could wait for ever: it ends only when all output has been read.
    """
    with suppress(ProcessLookupError):
        process.kill()
    await process.communicate()
    return process.returncode
