"""Dependencies of routes, and jobs whose client waits for the response."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from fastapi import Depends, Header, Request

from imagegen.disconnects import ConnectionCheck
from imagegen.errors import JobCancelled, RemoteError, WorkerUnavailable
from imagegen.schema.base import User
from imagegen.schema.events import Cancelled, Event, Failed, Result
from imagegen.schema.receipt import RequestedAs
from imagegen.schema.request import GenerationRequest
from imagegen.service import Service

# For files that never change.
IMMUTABLE_HEADERS = {"Cache-Control": "private, max-age=31536000, immutable"}
# Why the events of a job end without a last one.
STOPPED_PROBLEM = "the studio is shutting down."


def get_current_user(request: Request) -> User:
    """Returns the user that the authentication middleware found."""
    user: User = request.state.user
    return user


CurrentUser = Annotated[User, Depends(get_current_user)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="A key of your choice. A request with a known key runs again only if the first one failed.",
    ),
]


async def follow_job(
    service: Service, job_id: str, user: User, http: Request, previews: bool = False, keep: bool = False
) -> AsyncGenerator[Event]:
    """Yields the events of a job. A disconnect of the client cancels it, unless `keep`."""
    async with aclosing(service.follow(job_id, user, previews, keep, build_connection_check(http))) as events:
        async for event in events:
            yield event


def build_connection_check(http: Request) -> ConnectionCheck:
    """Returns a function that returns whether the client of the request is still connected."""

    async def is_connected() -> bool:
        return not await http.is_disconnected()

    return is_connected


async def wait_for_result(
    service: Service,
    request: GenerationRequest,
    user: User,
    http: Request,
    previews: bool = False,
    key: str | None = None,
    requested: RequestedAs | None = None,
) -> tuple[str, Result]:
    """Submits a job, waits for it, and returns its id and result. With a `key`, a disconnect does not cancel it.

    Raises what `submit` raises, RemoteError when the job failed, JobCancelled, and WorkerUnavailable on shutdown.
    """
    job_id = await service.submit(request, user, key, requested)
    async with aclosing(follow_job(service, job_id, user, http, previews, keep=key is not None)) as events:
        async for event in events:
            if (result := get_result(event)) is not None:
                return job_id, result
    raise WorkerUnavailable(STOPPED_PROBLEM)


def get_result(event: Event) -> Result | None:
    """Returns the event if it is the result, and None if it is not the last. Raises RemoteError and JobCancelled."""
    match event:
        case Result():
            return event
        case Failed():
            raise RemoteError(event.code, event.message)
        case Cancelled():
            raise JobCancelled
        case _:
            return None
