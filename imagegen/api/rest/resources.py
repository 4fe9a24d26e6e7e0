"""REST under /v1: models, LoRAs and embeddings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.sse import format_sse_event
from pydantic import Field, create_model

from imagegen.api.rest.dependencies import CurrentUser, build_connection_check
from imagegen.api.rest.errors import format_rest_error
from imagegen.api.rest.messages import dump_message
from imagegen.api.rest.openapi import REST_ERROR_RESPONSES
from imagegen.api.server_sent_events import EVENT_STREAM_CONTENT, EventStreamResponse
from imagegen.disconnects import until_disconnected
from imagegen.errors import UnknownPicture, map_exception
from imagegen.library.resource import ResourceInfo
from imagegen.media.inputs import load_input_image
from imagegen.media.thumbnails import encode_small
from imagegen.model_manager import ManagedResource
from imagegen.schema.base import FrozenModel
from imagegen.schema.field_types import Reference
from imagegen.schema.models import DownloadStatus, LoadProgress, RefusedFile, WildcardInfo
from imagegen.schema.prompt_weights import PromptLength
from imagegen.schema.request import CountedPrompt
from imagegen.service import Service

# Pixels of the longer side: a card of at most 400 px, on most screens with two pixels per px.
PICTURE_SIDE = 640
PICTURE_HEADERS = {"Cache-Control": "private, max-age=600"}
DELETE_DESCRIPTION = "Whether to delete it from the disk too, which only an administrator may do."
STREAM_DESCRIPTION = "Whether to respond with server-sent events that report the progress."


class Unloaded(FrozenModel):
    unloaded: str
    deleted: bool


def create_resource_router(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=REST_ERROR_RESPONSES)
    for resource in service.resources.values():
        add_resource_routes(router, resource)
        add_picture_route(router, resource)

    @router.get("/downloads", tags=["Models"])
    async def downloads() -> list[DownloadStatus]:
        """Returns the running downloads of models, LoRAs and embeddings, of all users."""
        return service.model_manager.list_downloads()

    @router.get("/refused_files", tags=["Models"])
    async def refused_files() -> list[RefusedFile]:
        """Returns the files and folders in the models folder that cannot be used, each with the reason."""
        return await asyncio.to_thread(service.model_manager.list_refused_files)

    @router.get("/wildcards/list", tags=["Models"])
    async def wildcards() -> list[WildcardInfo]:
        """Returns the wildcards. A prompt has a line of one by its name, such as `__colors__`."""
        return await asyncio.to_thread(service.model_manager.list_wildcards)

    @router.post("/tokens", tags=["Models"])
    async def tokens(body: CountedPrompt, user: CurrentUser) -> PromptLength:
        """Returns how many tokens a prompt has for a model, and how many it accepts."""
        return await asyncio.to_thread(service.model_manager.measure_prompt, body.model, body.prompt, body.seed)

    return router


def add_resource_routes(router: APIRouter, resource: ManagedResource[ResourceInfo]) -> None:
    name, plural, heading = resource.name, f"{resource.name}s", resource.heading
    response_model: Any = resource.info_type
    reference: Any = (Reference, Field(description=resource.reference_help))
    load_body: Any = create_model(f"Load{heading}", __base__=FrozenModel, **{
        name: reference, "stream": (bool, Field(False, description=STREAM_DESCRIPTION)),
    })  # fmt: skip
    unload_body: Any = create_model(f"Unload{heading}", __base__=FrozenModel, **{
        name: reference, "delete": (bool, Field(False, description=DELETE_DESCRIPTION)),
    })  # fmt: skip

    async def listed() -> list[ResourceInfo]:
        return list(await asyncio.to_thread(resource.list_all))

    async def load(body: load_body, user: CurrentUser, http: Request) -> Any:
        progress = resource.load(getattr(body, name), user)
        if body.stream:
            return EventStreamResponse(stream_load_progress(resource, progress))

        resource_id: str = getattr(body, name)
        async with aclosing(until_disconnected(progress, build_connection_check(http))) as updates:
            async for update in updates:
                resource_id = update.id
        return await asyncio.to_thread(resource.get, resource_id)

    async def unload(body: unload_body, user: CurrentUser) -> Unloaded:
        await resource.unload(getattr(body, name), user, body.delete)
        return Unloaded(unloaded=getattr(body, name), deleted=body.delete)

    listed.__doc__ = f"The {plural}, with all that is known about them."
    load.__doc__ = f"Loads a {name}, from the Hub if it is not on disk, and responds when it is ready."
    unload.__doc__ = resource.unload_help
    unload.__annotations__["body"], load.__annotations__["body"] = unload_body, load_body
    add = router.add_api_route
    add(f"/{plural}/list", listed, methods=["GET"], response_model=list[response_model], tags=[heading])
    add(
        f"/{plural}/load",
        load,
        methods=["POST"],
        response_model=response_model,
        tags=[heading],
        responses={200: EVENT_STREAM_CONTENT},
    )
    add(f"/{plural}/unload", unload, methods=["POST"], tags=[heading])


def add_picture_route(router: APIRouter, resource: ManagedResource[ResourceInfo]) -> None:
    name = resource.name

    async def picture(reference: str = Query(alias=name, description=resource.reference_help)) -> Response:
        content = await asyncio.to_thread(read_author_picture, resource, reference)
        return Response(content, media_type="image/webp", headers=PICTURE_HEADERS)

    picture.__doc__ = f"The picture that the author of a {name} put beside its files, where `has_picture` says so."
    router.add_api_route(
        f"/{name}s/picture",
        picture,
        methods=["GET"],
        tags=[resource.heading],
        response_class=Response,
        responses={200: {"content": {"image/webp": {"schema": {"type": "string", "format": "binary"}}}}},
    )


def read_author_picture(resource: ManagedResource[ResourceInfo], reference: str) -> bytes:
    """Returns a small version as WebP. Raises UnknownPicture, and InvalidRequest for a file that is no picture."""
    file = resource.find_picture(reference)
    if file is None:
        raise UnknownPicture(reference)
    return encode_small(load_input_image(file, "picture"), PICTURE_SIDE)


async def stream_load_progress(
    resource: ManagedResource[ResourceInfo], progress: AsyncGenerator[LoadProgress]
) -> AsyncGenerator[bytes]:
    """Yields progress, then the loaded resource. An error is an event too, because the response has begun."""
    resource_id = ""
    try:
        async with aclosing(progress):
            async for update in progress:
                resource_id = update.id
                yield format_sse_event(event="progress", data_str=dump_message(update))
        loaded = await asyncio.to_thread(resource.get, resource_id)
        yield format_sse_event(event="result", data_str=loaded.model_dump_json())
    except Exception as error:
        yield format_sse_event(event="error", data_str=json.dumps(format_rest_error(map_exception(error))["error"]))
