"""REST under /v1: pictures and jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse

from imagegen.api.rest.dependencies import IMMUTABLE_HEADERS, CurrentUser, IdempotencyKey, wait_for_result
from imagegen.api.rest.messages import (
    AnyRequest,
    Generation,
    ImageToImage,
    Inpainting,
    JobAnswer,
    JobList,
    Outpainting,
    RequestBody,
    TextToImage,
    Upscaling,
    build_event_message,
    build_generation,
    build_job_answer,
    dump_message,
    parse_rest_request,
)
from imagegen.api.rest.openapi import REQUEST_EXAMPLES, REST_ERROR_RESPONSES
from imagegen.api.server_sent_events import EVENT_STREAM_CONTENT, EventStreamResponse
from imagegen.media.outputs import ImageFormat
from imagegen.schema.base import User
from imagegen.schema.pictures import MAX_PAGE
from imagegen.service import Service

# For the API documentation.
PICTURE_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            f"image/{kind}": {"schema": {"type": "string", "format": "binary"}} for kind in ("png", "webp", "jpeg")
        }
    }
}


def create_rest_router(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=REST_ERROR_RESPONSES)
    add_generation_routes(router, service)
    add_job_routes(router, service)
    add_image_routes(router, service)
    return router


def add_generation_routes(router: APIRouter, service: Service) -> None:
    async def generate(body: RequestBody, user: CurrentUser, http: Request, key: str | None) -> Generation:
        request = await parse_rest_request(service, body, user)
        return await build_generation(service.images, *await wait_for_result(service, request, user, http, key=key))

    @router.post("/txt2img", tags=["Pictures"], openapi_extra=REQUEST_EXAMPLES["txt2img"])
    async def txt2img(body: TextToImage, user: CurrentUser, http: Request, key: IdempotencyKey = None) -> Generation:
        """Makes a picture from a prompt, and answers when it is finished. Closing the connection cancels it."""
        return await generate(body, user, http, key)

    @router.post("/img2img", tags=["Pictures"], openapi_extra=REQUEST_EXAMPLES["img2img"])
    async def img2img(body: ImageToImage, user: CurrentUser, http: Request, key: IdempotencyKey = None) -> Generation:
        """Makes a picture from another picture and a prompt, and answers when it is finished."""
        return await generate(body, user, http, key)

    @router.post("/inpaint", tags=["Pictures"], openapi_extra=REQUEST_EXAMPLES["inpaint"])
    async def inpaint(body: Inpainting, user: CurrentUser, http: Request, key: IdempotencyKey = None) -> Generation:
        """Paints the masked part of a picture anew, and answers when it is finished. The rest stays as it is."""
        return await generate(body, user, http, key)

    @router.post("/outpaint", tags=["Pictures"], openapi_extra=REQUEST_EXAMPLES["outpaint"])
    async def outpaint(body: Outpainting, user: CurrentUser, http: Request, key: IdempotencyKey = None) -> Generation:
        """Extends a picture beyond its edges, and answers when it is finished."""
        return await generate(body, user, http, key)

    @router.post("/upscale", tags=["Pictures"], openapi_extra=REQUEST_EXAMPLES["upscale"])
    async def upscale(body: Upscaling, user: CurrentUser, http: Request, key: IdempotencyKey = None) -> Generation:
        """Makes a picture larger, and answers when it is finished."""
        return await generate(body, user, http, key)


def add_job_routes(router: APIRouter, service: Service) -> None:
    @router.post("/jobs", tags=["Jobs"], status_code=202, openapi_extra=REQUEST_EXAMPLES["jobs"])
    async def submit(
        body: AnyRequest, user: CurrentUser, http: Request, response: Response, key: IdempotencyKey = None
    ) -> JobAnswer:
        """Submits a job, and answers at once. The job runs whether or not a client waits for it."""
        job_id = await service.submit(await parse_rest_request(service, body, user), user, key)
        response.headers["Location"] = f"{http.scope['root_path']}/v1/jobs/{job_id}"
        return await get_job_answer(service, job_id, user)

    @router.get("/jobs", tags=["Jobs"])
    async def list_jobs(
        user: CurrentUser,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="The most jobs on a page.")] = 50,
        after: Annotated[str | None, Query(description="`next` of the page before: only older jobs.")] = None,
    ) -> JobList:
        """Returns your jobs, newest first, with their results."""
        found = await service.list_jobs(user, limit + 1, after)
        jobs = tuple([await build_job_answer(service.images, job, latest) for job, latest in found[:limit]])
        return JobList(jobs=jobs, next=jobs[-1].id if len(found) > limit else None)

    @router.get("/jobs/{job_id}", tags=["Jobs"])
    async def show(job_id: str, user: CurrentUser) -> JobAnswer:
        """Returns the state of a job, and its result when it is done; the pictures are under their `url`."""
        return await get_job_answer(service, job_id, user)

    @router.get(
        "/jobs/{job_id}/events",
        tags=["Jobs"],
        response_class=StreamingResponse,
        responses={200: EVENT_STREAM_CONTENT, 204: {"description": "No event will follow Last-Event-ID."}},
    )
    async def watch(
        job_id: str,
        user: CurrentUser,
        previews: Annotated[bool, Query(description="Whether to send previews.")] = False,
        last_event_id: Annotated[
            int, Header(ge=0, le=2**31, description="The number of the last event that was received.")
        ] = 0,
    ) -> Response:
        """Returns the events of a job as server-sent events, all of them, or those after Last-Event-ID.

        They are those of the WebSocket, without the files. Closing the connection does not cancel the job. A client
        that connects again after the last event gets 204, which tells browsers not to do so again.
        """
        if await service.has_ended(job_id, user, last_event_id):
            return Response(status_code=204)
        return EventStreamResponse(stream_job_events(service, job_id, user, last_event_id, previews))

    @router.post("/jobs/{job_id}/finish", tags=["Jobs"])
    async def finish(job_id: str, user: CurrentUser) -> JobAnswer:
        """Ends a running job after its next step, and keeps the pictures as they are then.

        The job ends as usual; `unfinished_at_step` in the receipts is the last step. A finished job is no error. A job
        without a step has nothing to keep.
        """
        await service.finish_early(job_id, user)
        return await get_job_answer(service, job_id, user)

    @router.delete("/jobs/{job_id}", tags=["Jobs"])
    async def cancel(job_id: str, user: CurrentUser) -> JobAnswer:
        """Cancels a job that waits or runs; one that runs ends at its next step. A finished job is no error."""
        await service.cancel(job_id, user)
        return await get_job_answer(service, job_id, user)


async def get_job_answer(service: Service, job_id: str, user: User) -> JobAnswer:
    job = await service.get_job(job_id, user)
    return await build_job_answer(service.images, job, await service.get_latest_event(job_id, user))


async def stream_job_events(
    service: Service, job_id: str, user: User, after: int, previews: bool
) -> AsyncGenerator[bytes]:
    async with aclosing(service.events(job_id, user, after, previews)) as events:
        async for event in events:
            message = await build_event_message(service.images, job_id, event, include_files=False)
            yield format_sse_event(event=event.type, data_str=dump_message(message), id=str(event.seq))


def add_image_routes(router: APIRouter, service: Service) -> None:
    @router.get("/images/{picture_id}", tags=["Pictures"], response_class=Response, responses=PICTURE_CONTENT)
    async def image(
        picture_id: str,
        user: CurrentUser,
        format: Annotated[ImageFormat, Query(description="PNG is the original file.")] = "png",  # noqa: A002
        quality: Annotated[int, Query(ge=1, le=100, description="Of JPEG and WebP.")] = 90,
        download: Annotated[bool, Query(description="Whether browsers save the file.")] = False,
    ) -> Response:
        """Returns a finished picture. The file has its settings inside, in each format."""
        picture = await service.pictures.get(picture_id, user)
        content = await asyncio.to_thread(service.images.read_picture, picture_id, format, quality)
        name = f"{service.pictures.build_file_name(picture)}.{format}"
        disposition = f"{'attachment' if download else 'inline'}; filename*=UTF-8''{quote(name)}"
        headers = IMMUTABLE_HEADERS | {"Content-Disposition": disposition}
        return Response(content, media_type=f"image/{format}", headers=headers)
