"""OpenAI's routes under /v1."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from fastapi import APIRouter, Request

from imagegen.api.openai.answers import OPENAI_PROBLEMS, ImagesAnswer, ModelCard, ModelCards, answer
from imagegen.api.openai.forms import Form, asked_in, prompt_inside, received, schema
from imagegen.api.openai.requests import Asked, EditAsked, GenerationAsked, VariationAsked, in_openais_names, meant
from imagegen.api.openai.stream import Stream, StreamName
from imagegen.api.running import Caller, Key, finished
from imagegen.api.streams import EventStream
from imagegen.info import ModelInfo, ModelSource
from imagegen.schema import GenerationRequest, User
from imagegen.service import Service

# What a picture is made anew from, when nobody says what it shows.
ANYTHING = "a picture"
GENERATION_EXAMPLE = {"prompt": "a red circle on a blue background", "size": "128x128", "seed": 7, "steps": 20}
# Swagger sends every field of a form, and makes up what has no example.
FORM_EXAMPLE = {
    "prompt": "a lake at sunset, watercolor", "model": "embedded", "size": "auto", "user": "", "safety_identifier": "",
    "stream": False, "partial_images": 0, "steps": 20, "guidance_scale": 3.0, "sampler": "DPM++ 2M", "seed": 7,
    "strength": 0.7,
}  # fmt: skip
EVENTS = (
    "`….partial_image`, up to as many as were asked for, and `….completed`, one for each picture; or `error`. In front"
    " of the dot stands `image_generation` or `image_edit`."
)


def openai(service: Service) -> APIRouter:
    """Behind REST's routes: the ids of models may be anything, and `list` is REST's."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"], responses=OPENAI_PROBLEMS)
    add_images(router, service)
    add_models(router, service)
    return router


def add_images(router: APIRouter, service: Service) -> None:
    async def made(
        request: GenerationRequest, asked: Asked, user: User, http: Request, key: str | None, stream: StreamName
    ) -> Any:
        with in_openais_names(asked):
            if asked.stream:
                job_id = await service.submit(request, user, key)
                events = Stream(service, asked, stream).of(job_id, user, http, keep=key is not None)
                return EventStream(events, partial(service.cancel, job_id, user) if key is None else None)
            job_id, result = await finished(service, request, user, http, key=key)
        return await answer(service, job_id, result, asked, http, user)

    async def anew(form: Form, asked: VariationAsked, user: User, http: Request, key: str | None) -> Any:
        with in_openais_names(asked):
            init_image = await service.add_input(form.image, user)
        return await made(meant(asked, init_image), asked, user, http, key, "image_edit")

    @router.post("/images/generations", **described(GENERATION_EXAMPLE))
    async def generations(asked: GenerationAsked, user: Caller, http: Request, key: Key = None) -> Any:
        """Makes pictures out of words, for OpenAI's clients. Whoever leaves before they are finished cancels them."""
        return await made(meant(asked), asked, user, http, key, "image_generation")

    @router.post("/images/edits", **described(FORM_EXAMPLE, EditAsked))
    async def edits(user: Caller, http: Request, key: Key = None) -> Any:
        """Makes a picture anew, from it and from words, for OpenAI's clients. The picture is a file in a form."""
        form = await received(http)
        return await anew(form, asked_in(form, EditAsked), user, http, key)

    @router.post("/images/variations", **described(FORM_EXAMPLE, VariationAsked))
    async def variations(user: Caller, http: Request, key: Key = None) -> Any:
        """Makes a picture anew, for OpenAI's clients. The picture is a file in a form.

        A picture of this studio carries the prompt that it was made from, which is used again; of any other, what it
        shows is all there is to go by. A prompt of your own comes before both.
        """
        form = await received(http)
        variation = asked_in(form, VariationAsked)
        if variation.prompt is None:
            prompt = await asyncio.to_thread(prompt_inside, form.image) or ANYTHING
            variation = variation.model_copy(update={"prompt": prompt})
        return await anew(form, variation, user, http, key)


def described(example: dict[str, Any], form: type[Asked] | None = None) -> dict[str, Any]:
    """What the documentation says of a route that makes pictures; of one that takes a form, also what is in it."""
    content: dict[str, Any] = {"application/json": {"example": example}}
    if form is not None:
        content = {"multipart/form-data": {"schema": schema(form, example)}}
    events = {"description": EVENTS, "schema": {"type": "string"}}
    return {
        "response_model": ImagesAnswer,
        "responses": {200: {"content": {"text/event-stream": events}}},
        "openapi_extra": {"requestBody": {"required": True, "content": content}},
    }


def add_models(router: APIRouter, service: Service) -> None:
    @router.get("/models")
    async def models() -> ModelCards:
        """The models that can be used now, for OpenAI's clients."""
        known = await asyncio.to_thread(service.stock.library.models.all)
        return ModelCards(data=tuple(card(model.info, model.source) for model in known if model.source is not None))

    @router.get("/models/{model_id:path}")
    async def model(model_id: str) -> ModelCard:
        """One model, for OpenAI's clients."""
        return card(*await asyncio.to_thread(service.stock.model, model_id))


def card(info: ModelInfo, source: ModelSource) -> ModelCard:
    owner, slash, _ = (info.repository or "").partition("/")
    return ModelCard(id=info.id, created=source.changed // 10**9, owned_by=owner if slash else "studio")
