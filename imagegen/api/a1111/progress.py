"""The progress of a user's own jobs."""

from __future__ import annotations

import time

from pydantic import Field

from imagegen.api.a1111.responses import TIMESTAMP_FORMAT
from imagegen.schema.base import FrozenModel, User
from imagegen.schema.events import Event, Loading, Progress, Queued
from imagegen.service import Service
from imagegen.storage.jobs import Job


class Standing(FrozenModel):
    """The state of the user's first job. `job_count` is the number of their unfinished jobs."""

    skipped: bool = False
    interrupted: bool = False
    stopping_generation: bool = False
    job: str = ""
    job_count: int = 0
    job_timestamp: str = "0"
    job_no: int = 0
    sampling_step: int = 0
    sampling_steps: int = 0


class HowFar(FrozenModel):
    """All values are 0 when the user has no unfinished job."""

    progress: float = Field(0.0, description="Between 0 and 1.")
    eta_relative: float = Field(0.0, description="Seconds left, 0 while unknown.")
    state: Standing = Standing()
    current_image: str | None = Field(None, description="A preview of the picture, in base64.")
    textinfo: str | None = None


async def get_progress(service: Service, user: User, include_picture: bool) -> HowFar:
    jobs = await service.list_unfinished_jobs(user)
    if not jobs:
        return HowFar()
    event = await service.get_latest_event(jobs[0].id, user)
    return describe_progress(jobs[0], len(jobs), event, include_picture)


def describe_progress(job: Job, count: int, event: Event, include_picture: bool) -> HowFar:
    timestamp = time.strftime(TIMESTAMP_FORMAT, time.localtime(job.created))
    state = Standing(job=job.id, job_count=count, job_timestamp=timestamp, sampling_steps=job.request.steps or 0)
    match event:
        case Progress():
            return HowFar(
                progress=round(event.fraction, 4),
                eta_relative=event.seconds_left or 0.0,
                state=state.model_copy(update={"sampling_step": event.step, "sampling_steps": event.steps}),
                current_image=event.preview if include_picture else None,
            )
        case Queued():
            return HowFar(state=state, textinfo=f"Waiting: {event.position} jobs are ahead")
        case Loading():
            return HowFar(state=state, textinfo=f"Loading {event.model}")
        case _:
            return HowFar(state=state)
