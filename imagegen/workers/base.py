"""What the service knows of a worker. It runs jobs one at a time; when it dies or is slow, the service goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal, Protocol

from pydantic import Field

from imagegen.schema import Event, GenerationRequest, Message

WorkerState = Literal["warming up", "ready", "unavailable"]


class WorkerReady(Message):
    """The model is loaded; jobs run from now on."""

    type: Literal["ready"] = "ready"
    device: str
    dtype: str


class WorkerGone(Message):
    """The engine is being started anew; or, with a `reason`, there is no hope that it can be.

    It comes before the last event of the job that was lost with it.
    """

    type: Literal["gone"] = "gone"
    reason: str | None = None


class JobEvent(Message):
    """What happened to a job. Every job that was submitted gets a last event, also when its engine dies."""

    type: Literal["job"] = "job"
    job_id: str
    event: Event


Report = Annotated[WorkerReady | WorkerGone | JobEvent, Field(discriminator="type")]


class Worker(Protocol):
    """Jobs go in, reports come out. Everything but start and stop returns at once."""

    async def start(self) -> None:
        """Begins to load the engine, and does not wait for it."""

    async def stop(self) -> None:
        """Ends the engine, and the reports. A job that runs is lost."""

    def submit(self, job_id: str, request: GenerationRequest, previews: bool) -> None:
        """Runs a job. The worker must be ready and idle."""

    def cancel(self, job_id: str) -> None:
        """Ends a job at its next step."""

    def set_previews(self, job_id: str, wanted: bool) -> None:
        """Previews cost a little: none is made for a job that nobody watches."""

    def reports(self) -> AsyncIterator[Report]:
        """All that happens, in order, until the worker is stopped."""
