"""Whether jobs can run: the state of the workers, by their reports."""

from __future__ import annotations

import asyncio

from imagegen.errors import StudioStopping, WorkerUnavailable
from imagegen.workers.base import WorkerState
from imagegen.workers.messages import Report, WorkerGone, WorkerReady
from imagegen.workers.registry import WorkerRegistry


class WorkerMonitor:
    """Follows the state of the workers until the studio stops. One worker that is ready suffices."""

    def __init__(self, registry: WorkerRegistry) -> None:
        self.registry = registry
        self.is_draining = self.is_stopped = False
        self._changed = asyncio.Event()

    @property
    def state(self) -> WorkerState:
        return self.registry.state

    def handle_report(self, report: Report) -> None:
        self.registry.handle_report(report)
        if isinstance(report, WorkerReady | WorkerGone):
            self._signal_change()

    def drain(self) -> None:
        """No new job is accepted from now on."""
        self.is_draining = True

    def stop(self) -> None:
        """No job will have any more events from now on."""
        self.is_stopped = True
        self._signal_change()

    def check(self) -> None:
        """Raises StudioStopping and WorkerUnavailable when no job will start any more."""
        if self.is_draining or self.is_stopped:
            raise StudioStopping
        if self.state == "unavailable":
            raise WorkerUnavailable(self.registry.problem)

    async def wait_until_ready(self) -> None:
        """Raises StudioStopping and WorkerUnavailable when no job will start any more."""
        while self.state == "warming up" and not self.is_stopped:
            await self._changed.wait()
        self.check()

    def _signal_change(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
