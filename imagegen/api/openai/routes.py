"""OpenAI's routes under /v1."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, Request

from imagegen.api.openai.aliases import find_model, resolve_body
from imagegen.api.openai.forms import ImageForm, build_form_schema, read_form, validate_form
from imagegen.api.openai.more_pictures import add_references, store_more_pictures
from imagegen.api.openai.picture_links import PictureLinks
from imagegen.api.openai.quality import list_steps
from imagegen.api.openai.requests import (
    EditAsked,
    GenerationAsked,
    ImageRequest,
    VariationAsked,
    convert_openai_request,
    report_openai_field_names,
)
from imagegen.api.openai.responses import (
    OPENAI_ERROR_RESPONSES,
    ImagesAnswer,
    ModelCard,
    ModelCards,
    build_images_answer,
)
from imagegen.api.openai.stream import EventPrefix, ImageEventStream
from imagegen.api.rest.dependencies import CurrentUser, IdempotencyKey, wait_for_result
from imagegen.api.server_sent_events import EventStreamResponse
from imagegen.media.masks import convert_erased_mask
from imagegen.media.metadata.picture_prompt import find_picture_prompt
from imagegen.schema.base import User
from imagegen.schema.input_images import ENTRY_IMAGES
from imagegen.schema.models import ModelInfo, ModelSource
from imagegen.schema.request import REQUIRES, GenerationRequest
from imagegen.sent_images import store_encoded_images
from imagegen.service import Service

GENERATION_EXAMPLE = {"prompt": "a red circle on a blue background", "size": "128x128", "seed": 7, "steps": 20}
# Swagger sends every field of a form, and invents values for fields without an example.
FORM_EXAMPLE = {
    "prompt": "a lake at sunset, watercolor", "model": "embedded", "size": "auto", "user": "", "safety_identifier": "",
    "stream": False, "partial_images": 0, "steps": 20, "guidance_scale": 3.0, "sampler": "DPM++ 2M", "seed": 7,
    "strength": 0.7,
}  # fmt: skip
MASK_EXAMPLE = {
    name: GenerationRequest.model_fields[name].default
    for name, requires in REQUIRES.items()
    if requires.field == "mask_image"
}
# In OpenAI's masks, what is transparent is painted anew.
MASK_FIELD = "mask_image"
STREAM_EVENTS_DESCRIPTION = (
    "`….partial_image`, up to as many as were requested, and `….completed`, one for each picture; or `error`. In front"
    " of the dot stands `image_generation` or `image_edit`."
)


def create_openai_router(service: Service, links: PictureLinks) -> APIRouter:
    """Returns the routes. They must come after REST's: a model's id may be any text, and `list` is REST's route."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"], responses=OPENAI_ERROR_RESPONSES)
    add_openai_image_routes(router, service, links)
    add_openai_model_routes(router, service)
    return router


def add_openai_image_routes(router: APIRouter, service: Service, links: PictureLinks) -> None:
    async def generate(
        sent_body: ImageRequest,
        user: User,
        http: Request,
        key: str | None,
        stream_name: EventPrefix,
        input_images: Mapping[str, str],
        references: Sequence[str] = (),
    ) -> Any:
        resolved = await asyncio.to_thread(
            resolve_body, sent_body, service.model_manager, service.settings.openai_aliases
        )
        body, requested = resolved.body, resolved.requested
        lists = await store_encoded_images(service, body.model_dump(include={*ENTRY_IMAGES}), user)
        request = convert_openai_request(body.model_copy(update=add_references(lists, references)), input_images)
        with report_openai_field_names(body):
            if body.stream:
                job_id = await service.submit(request, user, key, requested)
                events = ImageEventStream(service, body, stream_name).encode_events(
                    job_id, user, http, keep=key is not None
                )
                return EventStreamResponse(events, partial(service.cancel, job_id, user) if key is None else None)
            job_id, result = await wait_for_result(service, request, user, http, key=key, requested=requested)
        return await build_images_answer(service, links, await service.get_job(job_id, user), result, body, http)

    async def generate_from_image(
        form: ImageForm, body: ImageRequest, user: User, http: Request, key: str | None
    ) -> Any:
        images = dict(form.images)
        references = await store_more_pictures(service, form, body, user)
        with report_openai_field_names(body):
            if MASK_FIELD in images:
                images[MASK_FIELD] = await asyncio.to_thread(convert_erased_mask, images[MASK_FIELD], MASK_FIELD)
            stored = {field: await service.add_input(file, user, field) for field, file in images.items()}
        return await generate(body, user, http, key, "image_edit", stored, references)

    @router.post("/images/generations", **build_route_options(GENERATION_EXAMPLE))
    async def generations(body: GenerationAsked, user: CurrentUser, http: Request, key: IdempotencyKey = None) -> Any:
        """Makes pictures from a prompt, for OpenAI's clients. Closing the connection cancels them."""
        return await generate(body, user, http, key, "image_generation", {})

    @router.post("/images/edits", **build_route_options(FORM_EXAMPLE | MASK_EXAMPLE, EditAsked))
    async def edits(user: CurrentUser, http: Request, key: IdempotencyKey = None) -> Any:
        """Makes a picture from another one and a prompt, for OpenAI's clients. The picture is a file in a form.

        A mask is a file, too: what is transparent in it is painted anew, and the rest of the picture stays as it is.
        For models that look at several pictures, others may follow the first: they are its reference pictures.
        """
        form = await read_form(http, EditAsked)
        return await generate_from_image(form, validate_form(form, EditAsked), user, http, key)

    @router.post("/images/variations", **build_route_options(FORM_EXAMPLE, VariationAsked))
    async def variations(user: CurrentUser, http: Request, key: IdempotencyKey = None) -> Any:
        """Makes a picture from another one, for OpenAI's clients. The picture is a file in a form.

        Without a prompt, the prompt in the picture's receipt is used, if this studio made it.
        """
        form = await read_form(http, VariationAsked)
        variation = validate_form(form, VariationAsked)
        if variation.prompt is None:
            prompt = await asyncio.to_thread(find_picture_prompt, form.start_image)
            variation = variation.model_copy(update={"prompt": prompt})
        return await generate_from_image(form, variation, user, http, key)


def build_route_options(example: dict[str, Any], form_model: type[ImageRequest] | None = None) -> dict[str, Any]:
    """Returns the documentation of a route that makes pictures; with `form_model`, the schema of its form too."""
    content: dict[str, Any] = {"application/json": {"example": example}}
    if form_model is not None:
        content = {"multipart/form-data": {"schema": build_form_schema(form_model, example)}}
    events = {"description": STREAM_EVENTS_DESCRIPTION, "schema": {"type": "string"}}
    return {
        "response_model": ImagesAnswer,
        "responses": {200: {"content": {"text/event-stream": events}}},
        "openapi_extra": {"requestBody": {"required": True, "content": content}},
    }


def add_openai_model_routes(router: APIRouter, service: Service) -> None:
    @router.get("/models")
    async def models() -> ModelCards:
        """The models that can be used now, for OpenAI's clients."""
        statuses = await asyncio.to_thread(service.model_manager.library.models.list_available)
        return ModelCards(
            data=tuple(build_model_card(model.info, model.source) for model in statuses if model.source is not None)
        )

    @router.get("/models/{model_id:path}")
    async def model(model_id: str) -> ModelCard:
        """One model, for OpenAI's clients; for a name of OpenAI's own, the model that makes its pictures."""
        info, source, _ = await asyncio.to_thread(
            find_model, model_id, service.model_manager, service.settings.openai_aliases
        )
        return build_model_card(info, source)


def build_model_card(info: ModelInfo, source: ModelSource) -> ModelCard:
    owner, slash, _ = (info.repository or "").partition("/")
    return ModelCard(
        id=info.id,
        created=source.changed // 10**9,
        owned_by=owner if slash else "studio",
        steps={"auto": info.steps, **list_steps(info.steps)},
    )
