"""The Inference API's routes under /hf."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from imagegen.api.huggingface.errors import InferenceProblem
from imagegen.api.huggingface.requests import (
    IMAGE_FIELD,
    build_body_schema,
    convert_inference_request,
    parse_inference_body,
    report_inference_names,
)
from imagegen.api.rest.dependencies import CurrentUser, IdempotencyKey, wait_for_result
from imagegen.api.rest.openapi import build_error_responses
from imagegen.api.rest.pictures import PICTURE_CONTENT
from imagegen.errors import ImageGenError
from imagegen.media.metadata.picture_prompt import find_picture_prompt
from imagegen.media.outputs import ImageFormat
from imagegen.schema.base import User
from imagegen.schema.input_images import ENTRY_IMAGES
from imagegen.sent_images import store_encoded_images
from imagegen.service import Service

HUGGING_FACE_PATH = "/hf"
# @huggingface/inference repeats a request that is answered with 503 at once, and again until it succeeds.
BUSY_STATUS, BUSY_PAUSE_SECONDS = 503, 1.0
EXAMPLE = {
    "inputs": "a red circle on a blue background",
    "parameters": {"num_inference_steps": 20, "seed": 7, "width": 128, "height": 128},
}
PICTURE_TYPES: dict[str, ImageFormat] = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}
BODY_CONTENT: dict[str, Any] = {
    "application/json": {"schema": build_body_schema(), "example": EXAMPLE},
    **{name: {"schema": {"type": "string", "format": "binary"}} for name in PICTURE_TYPES},
}


def create_inference_router(service: Service) -> APIRouter:
    router = APIRouter(
        prefix=HUGGING_FACE_PATH, tags=["Hugging Face"], responses=build_error_responses(InferenceProblem)
    )

    async def respond(model: str | None, user: User, http: Request, key: str | None) -> Response:
        try:
            return await generate(model, user, http, key)
        except ImageGenError as error:
            if error.status == BUSY_STATUS:
                await asyncio.sleep(BUSY_PAUSE_SECONDS)
            raise

    async def generate(model: str | None, user: User, http: Request, key: str | None) -> Response:
        inputs = await asyncio.to_thread(parse_inference_body, await http.body())
        image_id, prompt = None, inputs.prompt
        with report_inference_names(inputs):
            if inputs.picture is not None:
                image_id = await service.add_input(inputs.picture, user, IMAGE_FIELD)
                if prompt is None:
                    prompt = await asyncio.to_thread(find_picture_prompt, inputs.picture)
            lists = await store_encoded_images(service, inputs.parameters.model_dump(include={*ENTRY_IMAGES}), user)
            request = convert_inference_request(inputs, prompt, model, image_id, lists)
            job_id, result = await wait_for_result(service, request, user, http, key=key)
        return await build_picture_response(service, result.pictures[0].id, job_id, http)

    @router.post("", response_class=Response, **build_route_options())
    async def infer(user: CurrentUser, http: Request, key: IdempotencyKey = None) -> Response:
        """Makes a picture with the default model, for clients of Hugging Face's Inference API.

        `inputs` is a prompt, or a picture in base64. The file has the receipt inside. The header X-Job-Id names the
        job, for /v1/jobs. Closing the connection cancels it.
        """
        return await respond(None, user, http, key)

    @router.post("/models/{model_id:path}", response_class=Response, **build_route_options())
    async def infer_with_model(
        model_id: Annotated[str, Path(description="A model of the studio.")],
        user: CurrentUser,
        http: Request,
        key: IdempotencyKey = None,
    ) -> Response:
        """Makes a picture with a model, for clients of Hugging Face's Inference API."""
        return await respond(model_id, user, http, key)

    return router


def build_route_options() -> dict[str, Any]:
    return {
        "responses": PICTURE_CONTENT,
        "openapi_extra": {"requestBody": {"required": True, "content": BODY_CONTENT}},
    }


async def build_picture_response(service: Service, picture_id: str, job_id: str, http: Request) -> Response:
    file_format = choose_format(http.headers.get("accept", ""))
    content = await asyncio.to_thread(service.images.read_picture, picture_id, file_format)
    return Response(content, media_type=f"image/{file_format}", headers={"X-Job-Id": job_id})


def choose_format(accept: str) -> ImageFormat:
    """Returns the first format that an Accept header names; PNG if it names none."""
    types = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return next((PICTURE_TYPES[name] for name in types if name in PICTURE_TYPES), "png")
