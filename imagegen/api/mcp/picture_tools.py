"""The tools that make pictures, one for each task."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial

from mcp.types import ContentBlock, ImageContent, TextContent

from imagegen.api.mcp.picture_urls import PictureUrls
from imagegen.api.mcp.tool import Caller, Tool, build_text
from imagegen.api.rest.dependencies import STOPPED_PROBLEM, get_result
from imagegen.api.rest.messages import RequestBody, create_task_model, parse_rest_request, read_picture_base64
from imagegen.errors import WorkerUnavailable
from imagegen.schema.event_texts import describe_event
from imagegen.schema.events import Event, Loading, Progress, Queued, Result, Started
from imagegen.schema.input_images import find_image_values, replace_images
from imagegen.schema.request import GenerationRequest
from imagegen.schema.tasks import TASKS, TaskName
from imagegen.service import Service

RESULT_HELP = "Returns each picture as a PNG file with its address, and then what decided each picture (its receipt)."
PICTURE_HELP = "The id or the URL of a picture that was made here, or a picture in base64 or as a data URI."


def create_picture_tools(service: Service) -> list[Tool]:
    urls = PictureUrls(service.settings)
    return [create_picture_tool(service, urls, name) for name in TASKS]


def create_picture_tool(service: Service, urls: PictureUrls, name: TaskName) -> Tool:
    task = TASKS[name]
    arguments = create_task_model(task.endpoint, task.summary, name)
    descriptions = {
        field: f"{GenerationRequest.model_fields[field].description} {PICTURE_HELP}" for field in task.input_images
    }
    call = partial(make_pictures, service, urls)
    return Tool(task.endpoint, f"{task.summary} {RESULT_HELP}", arguments, call, descriptions=descriptions)


async def make_pictures(
    service: Service, urls: PictureUrls, arguments: RequestBody, caller: Caller
) -> list[ContentBlock]:
    """Submits a job and waits for it. The job is cancelled when the caller is.

    Raises what `Service.submit` raises, RemoteError when the job failed, JobCancelled, and WorkerUnavailable on
    shutdown.
    """
    fields = arguments.model_dump(exclude_unset=True)
    ids = {place: urls.replace_by_id(text, place) for place, text in find_image_values(fields).items()}
    body = type(arguments)(**replace_images(fields, ids))
    request = await parse_rest_request(service, body, caller.user)
    async with aclosing(service.generate(request, caller.user)) as events:
        async for event in events:
            if (result := get_result(event)) is not None:
                return await build_result(service, result, caller)
            await report_event(event, caller)
    raise WorkerUnavailable(STOPPED_PROBLEM)


async def report_event(event: Event, caller: Caller) -> None:
    match event:
        case Queued() | Started() | Loading():
            await caller.progress.report(0, describe_event(event))
        case Progress():
            await caller.progress.report(event.fraction, describe_event(event))


async def build_result(service: Service, result: Result, caller: Caller) -> list[ContentBlock]:
    content: list[ContentBlock] = []
    for picture in result.pictures:
        encoded = await read_picture_base64(service.images, picture.id)
        content.append(ImageContent(type="image", data=encoded, mimeType="image/png"))
        content.append(build_url_text(picture.id, caller))
    return [*content, *(build_text(picture.receipt.model_dump()) for picture in result.pictures)]


def build_url_text(picture_id: str, caller: Caller) -> TextContent:
    return TextContent(type="text", text=f"Image URL: {caller.build_picture_url(picture_id)}")
