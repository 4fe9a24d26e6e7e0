"""REST under /v1: pictures and jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse

from imagegen.api.described import PROBLEMS, REQUEST_EXAMPLES
from imagegen.api.running import Caller, Key, finished
from imagegen.api.streams import EVENTS, EventStream
from imagegen.api.wire import (
    AnyRequest,
    Generation,
    ImageToImage,
    JobAnswer,
    as_json,
    generation,
    job_answer,
    outgoing,
    parsed,
)
from imagegen.images import Format, converted
from imagegen.schema import TextToImage, User
from imagegen.service import Service

KEEP = {"Cache-Control": "private, max-age=31536000, immutable"}


def rest(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=PROBLEMS)
    add_generation(router, service)
    add_jobs(router, service)
    add_images(router, service)
    return router


def add_generation(router: APIRouter, service: Service) -> None:
    async def made(asked: TextToImage, user: Caller, http: Request, key: str | None) -> Generation:
        request = await parsed(service, asked, user)
        return await generation(service.images, *await finished(service, request, user, http, key=key))

    @router.post("/txt2img", tags=["Pictures"], openapi_extra=REQUEST_EXAMPLES["txt2img"])
    async def txt2img(asked: TextToImage, user: Caller, http: Request, key: Key = None) -> Generation:
        """Makes a picture out of words, and answers when it is finished. Whoever leaves before cancels it."""
        return await made(asked, user, http, key)

    @router.post("/img2img", tags=["Pictures"], openapi_extra=REQUEST_EXAMPLES["img2img"])
    async def img2img(asked: ImageToImage, user: Caller, http: Request, key: Key = None) -> Generation:
        """Makes a picture anew, from it and from words, and answers when it is finished."""
        return await made(asked, user, http, key)


def add_jobs(router: APIRouter, service: Service) -> None:
    @router.post("/jobs", tags=["Jobs"], status_code=202, openapi_extra=REQUEST_EXAMPLES["jobs"])
    async def submit(asked: AnyRequest, user: Caller, response: Response, key: Key = None) -> JobAnswer:
        """Begins a job, and answers at once. It is made whether anybody waits for it or not."""
        job_id = await service.submit(await parsed(service, asked, user), user, key)
        response.headers["Location"] = f"/v1/jobs/{job_id}"
        return await stands(service, job_id, user)

    @router.get("/jobs/{job_id}", tags=["Jobs"])
    async def show(job_id: str, user: Caller) -> JobAnswer:
        """How a job stands, and its result when it is done; the pictures are under their `url`."""
        return await stands(service, job_id, user)

    @router.get(
        "/jobs/{job_id}/events",
        tags=["Jobs"],
        response_class=StreamingResponse,
        responses={200: EVENTS},
    )
    async def watch(
        job_id: str,
        user: Caller,
        previews: Annotated[bool, Query(description="Whether to send small pictures of how it goes.")] = False,
        last_event_id: Annotated[int, Header(ge=0, le=2**31, description="The last event that you have.")] = 0,
    ) -> StreamingResponse:
        """The events of a job as server-sent events, from the first to the last, or from the one after Last-Event-ID.

        They are those of the WebSocket, without the files. Leaving changes nothing.
        """
        service.job(job_id, user)
        return EventStream(told(service, job_id, user, last_event_id, previews))

    @router.delete("/jobs/{job_id}", tags=["Jobs"])
    async def cancel(job_id: str, user: Caller) -> JobAnswer:
        """Takes a job out of the queue, or ends it at its next step. To cancel too late is no error."""
        await service.cancel(job_id, user)
        return await stands(service, job_id, user)


async def stands(service: Service, job_id: str, user: User) -> JobAnswer:
    return await job_answer(service.images, service.job(job_id, user), service.latest(job_id, user))


async def told(service: Service, job_id: str, user: User, after: int, previews: bool) -> AsyncGenerator[bytes]:
    async with aclosing(service.events(job_id, user, after, previews)) as events:
        async for event in events:
            message = await outgoing(service.images, job_id, event, files=False)
            yield format_sse_event(event=event.type, data_str=as_json(message), id=str(event.seq))


def add_images(router: APIRouter, service: Service) -> None:
    kinds = {f"image/{kind}": {"schema": {"type": "string", "format": "binary"}} for kind in ("png", "webp", "jpeg")}

    @router.get("/images/{picture_id}", tags=["Pictures"], response_class=Response, responses={200: {"content": kinds}})
    async def image(
        picture_id: str,
        user: Caller,
        format: Annotated[Format, Query(description="PNG is the picture as it was made.")] = "png",  # noqa: A002
        quality: Annotated[int, Query(ge=1, le=100, description="Of JPEG and WebP.")] = 90,
    ) -> Response:
        """A finished picture. Its settings are inside, in each format."""
        content = await asyncio.to_thread(converted, service.picture(picture_id, user), format, quality)
        return Response(content, media_type=f"image/{format}", headers=KEEP)
