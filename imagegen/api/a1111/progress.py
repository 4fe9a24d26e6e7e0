"""How far somebody's own jobs are."""

from __future__ import annotations

import time

from pydantic import Field

from imagegen.api.a1111.answers import TIMESTAMP
from imagegen.jobs import Job
from imagegen.schema import Event, Loading, Message, Progress, Queued, User
from imagegen.service import Service


class Standing(Message):
    """Of the job that is first. `job_count` is how many there are."""

    skipped: bool = False
    interrupted: bool = False
    job: str = ""
    job_count: int = 0
    job_timestamp: str = "0"
    job_no: int = 0
    sampling_step: int = 0
    sampling_steps: int = 0


class HowFar(Message):
    """All is 0 when nothing is to be made for this caller."""

    progress: float = Field(0.0, description="Between 0 and 1.")
    eta_relative: float = Field(0.0, description="Seconds left, 0 while nobody knows.")
    state: Standing = Standing()
    current_image: str | None = Field(None, description="How the picture looks so far, in base64.")
    textinfo: str | None = None


def how_far(service: Service, user: User, with_picture: bool) -> HowFar:
    jobs = service.jobs.unfinished(user.id)
    if not jobs:
        return HowFar()
    return told(jobs[0], len(jobs), service.latest(jobs[0].id, user), with_picture)


def told(job: Job, count: int, event: Event, with_picture: bool) -> HowFar:
    timestamp = time.strftime(TIMESTAMP, time.localtime(job.created))
    state = Standing(job=job.id, job_count=count, job_timestamp=timestamp, sampling_steps=job.request.steps or 0)
    match event:
        case Progress():
            return HowFar(
                progress=round(event.share, 4),
                eta_relative=event.seconds_left or 0.0,
                state=state.model_copy(update={"sampling_step": event.step, "sampling_steps": event.steps}),
                current_image=event.preview if with_picture else None,
            )
        case Queued():
            return HowFar(state=state, textinfo=f"Waiting: {event.position} come before")
        case Loading():
            return HowFar(state=state, textinfo=f"Loading {event.model}")
        case _:
            return HowFar(state=state)
