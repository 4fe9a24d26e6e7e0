"""What the service knows of a worker. When it dies or is slow, the service goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, Protocol

from imagegen.info import ModelSource
from imagegen.workers.messages import Report, Run

WorkerState = Literal["warming up", "ready", "unavailable"]


class Worker(Protocol):
    """Jobs go in, reports come out. Everything but start and stop returns at once."""

    async def start(self) -> None:
        """Begins to load the engine, and does not wait for it."""

    async def stop(self) -> None:
        """Ends the engine, and the reports. Jobs that run are lost."""

    def submit(self, run: Run) -> None:
        """Runs a job, beside those that run already. The worker must be ready."""

    def cancel(self, job_id: str) -> None:
        """Ends a job at its next step."""

    def set_previews(self, job_id: str, wanted: bool) -> None:
        """Previews cost a little: none is made for a job that nobody watches."""

    def warm(self, model: ModelSource) -> None:
        """Brings a model to the device as soon as there is room, and reports Warmed."""

    def release(self, model_id: str) -> None:
        """Frees a model's memory, unless a job uses it."""

    def reports(self) -> AsyncIterator[Report]:
        """All that happens, in order, until the worker is stopped."""
