"""REST under /v1: input pictures."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import FileResponse, Response

from imagegen.api.rest.dependencies import IMMUTABLE_HEADERS, CurrentUser
from imagegen.api.rest.messages import ImageReference
from imagegen.api.rest.openapi import REST_ERROR_RESPONSES
from imagegen.media.base64_images import encode_base64
from imagegen.picture_settings.reader import read_picture_settings
from imagegen.preprocessing import store_control_map
from imagegen.schema.base import FrozenModel
from imagegen.schema.controls import ControlUse, Preprocessor
from imagegen.schema.field_types import Reference
from imagegen.schema.picture_settings import PictureSettings
from imagegen.schema.request import INPUT_IMAGES
from imagegen.service import Service

PNG_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
}
# The request's fields for input pictures. Each stores them in its mode.
InputField: Any = Literal[*INPUT_IMAGES]


class NewInput(FrozenModel):
    image: ImageReference
    field: InputField = Field(next(iter(INPUT_IMAGES)), description="The field of a request that it is for.")


class StoredInput(FrozenModel):
    id: str


class NewControlMap(FrozenModel):
    image: ImageReference
    preprocessor: Preprocessor = Field(description=ControlUse.model_fields["preprocessor"].description)


class ControlMap(FrozenModel):
    """`id` names the map in the controls of a request, with the preprocessor "none". `image_b64` is a PNG file."""

    id: str
    image_b64: str


class PictureFile(FrozenModel):
    image: str = Field(
        description="The file of a picture, as it is, in base64 or as a data URI; or the id of one of yours."
    )
    model: Reference | None = Field(
        None, description="The model for a picture whose own is not here. Empty: the default one."
    )


def create_inputs_router(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["Library"], responses=REST_ERROR_RESPONSES)

    @router.post("/inputs", status_code=201)
    async def add_input(body: NewInput, user: CurrentUser) -> StoredInput:
        """Stores an input picture. Requests can name it by its id, as often as they like."""
        return StoredInput(id=await service.add_encoded_input(body.image, user, body.field))

    @router.post("/preprocess", status_code=201)
    async def preprocess(body: NewControlMap, user: CurrentUser) -> ControlMap:
        """Makes the control map of a picture, such as its edges, and stores it as an input picture."""
        image_id = await store_control_map(service, body.image, body.preprocessor, user, "image")
        file = await service.get_input_path(image_id, user)
        return ControlMap(id=image_id, image_b64=encode_base64(await asyncio.to_thread(file.read_bytes)))

    @router.post("/png_info")
    async def png_info(body: PictureFile, user: CurrentUser) -> PictureSettings:
        """Reads the settings in the file of a picture, of this studio or of another tool.

        Answers them as fields of a request, and for each setting in the file whether the studio has the same. It reads
        what AUTOMATIC1111, Forge, SD.Next, Fooocus, ComfyUI, InvokeAI, SwarmUI, NovelAI, Easy Diffusion, Draw Things
        and Civitai write into PNG, JPEG and WebP files.
        """
        content = await service.read_encoded_picture(body.image, user, "image")
        return await read_picture_settings(service, content, user, body.model)

    @router.get("/inputs/{image_id}", response_class=FileResponse, responses=PNG_CONTENT)
    async def start_image(image_id: str, user: CurrentUser) -> Response:
        """Returns a picture that you sent for a field of a request, as a receipt names it."""
        file = await service.get_input_path(image_id, user)
        return FileResponse(file, media_type="image/png", headers=IMMUTABLE_HEADERS)

    return router
