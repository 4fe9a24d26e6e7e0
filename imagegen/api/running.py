"""Jobs that somebody waits for at the other end of a connection."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from fastapi import Depends, Header, Request

from imagegen.errors import Told, WasCancelled, WorkerUnavailable
from imagegen.schema import Cancelled, Event, Failed, GenerationRequest, Result, User
from imagegen.service import Service
from imagegen.watching import while_there


def caller(request: Request) -> User:
    """Whom the gate let in."""
    user: User = request.state.user
    return user


Caller = Annotated[User, Depends(caller)]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="A name of your own for this request. With the same name, it is made again only if it failed.",
    ),
]


async def followed(
    service: Service, job_id: str, user: User, http: Request, previews: bool = False, keep: bool = False
) -> AsyncGenerator[Event]:
    """The events of a job that is made for whoever waits at the other end."""

    async def is_there() -> bool:
        return not await http.is_disconnected()

    async with aclosing(while_there(service.follow(job_id, user, previews, keep), is_there)) as events:
        async for event in events:
            yield event


async def finished(
    service: Service,
    request: GenerationRequest,
    user: User,
    http: Request,
    previews: bool = False,
    key: str | None = None,
) -> tuple[str, Result]:
    """The id of a job and its result; whoever sent a `key` may leave and come back for it.

    Raises what `submit` raises, Told when the job failed, WasCancelled, and WorkerUnavailable when the studio stops.
    """
    job_id = await service.submit(request, user, key)
    async with aclosing(followed(service, job_id, user, http, previews, keep=key is not None)) as events:
        async for event in events:
            match event:
                case Result():
                    return job_id, event
                case Failed():
                    raise Told(event.code, event.message)
                case Cancelled():
                    raise WasCancelled
    raise WorkerUnavailable("the studio stops.")
