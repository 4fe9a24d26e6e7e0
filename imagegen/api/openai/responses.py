"""The responses of OpenAI's image API."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from starlette.requests import Request

from imagegen.api.openai.picture_links import PictureLinks
from imagegen.api.openai.quality import Quality
from imagegen.api.openai.requests import ImageRequest
from imagegen.api.rest.messages import read_picture_base64
from imagegen.api.rest.openapi import build_error_responses
from imagegen.media.outputs import ImageFormat
from imagegen.schema.base import FrozenModel
from imagegen.schema.events import Result
from imagegen.schema.receipt import Picture, Receipt, RequestedAs
from imagegen.service import Service
from imagegen.storage.jobs import Job


class Tokens(FrozenModel):
    text_tokens: int = 0
    image_tokens: int = 0


class Usage(FrozenModel):
    """Always 0: the studio does not count tokens."""

    input_tokens: int = 0
    input_tokens_details: Tokens = Tokens()
    output_tokens: int = 0
    total_tokens: int = 0


class EncodedPicture(FrozenModel):
    b64_json: str


class LinkedPicture(FrozenModel):
    """`url` is valid for an hour. It needs no sign-in."""

    url: str


class ImageAttributes(FrozenModel):
    """What the pictures of a response have in common, in OpenAI's fields."""

    background: Literal["opaque"] = "opaque"
    output_format: ImageFormat
    quality: Quality | Literal["auto"]
    size: str


class ImagesAnswer(ImageAttributes):
    """`created` is in seconds since 1970. Three fields are additions of the studio: `model` made the pictures,
    `requested` is what the request named instead, and `receipts` has all settings of each picture.
    """

    created: int
    model: str
    requested: RequestedAs | None
    data: tuple[EncodedPicture | LinkedPicture, ...]
    usage: Usage = Usage()
    receipts: tuple[Receipt, ...]


class ModelCard(FrozenModel):
    """A model on disk. `created` is when its files last changed, in seconds since 1970.

    `steps` is an addition of the studio: the number of steps for each `quality`.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    steps: dict[Quality | Literal["auto"], int]


class ModelCards(FrozenModel):
    object: Literal["list"] = "list"
    data: tuple[ModelCard, ...]


class OpenAIProblem(FrozenModel):
    """`code` is for programs, `message` for people; `param` is the invalid field, if it is one."""

    message: str
    type: str
    param: str | None
    code: str


class OpenAIProblemAnswer(FrozenModel):
    error: OpenAIProblem = Field(description="OpenAI's clients raise it as an exception.")


OPENAI_ERROR_RESPONSES = build_error_responses(OpenAIProblemAnswer)


async def build_images_answer(
    service: Service, links: PictureLinks, job: Job, result: Result, body: ImageRequest, http: Request
) -> ImagesAnswer:
    first = result.pictures[0]
    return ImagesAnswer(
        created=int(job.finished or job.created),
        model=first.receipt.model_id or "",
        requested=first.receipt.requested,
        data=tuple([await build_image_entry(service, links, picture, body, http) for picture in result.pictures]),
        output_format=body.file_format,
        quality=body.quality_level or "auto",
        size=format_size(first),
        receipts=tuple(picture.receipt for picture in result.pictures),
    )


async def build_image_entry(
    service: Service, links: PictureLinks, picture: Picture, body: ImageRequest, http: Request
) -> EncodedPicture | LinkedPicture:
    if body.response_format == "url":
        base = (service.settings.public_url or str(http.base_url)).rstrip("/")
        return LinkedPicture(url=base + links.build_path(picture.id, body.file_format, max(1, body.file_quality)))
    return EncodedPicture(b64_json=await encode_image(service, picture, body))


async def encode_image(service: Service, picture: Picture, body: ImageRequest) -> str:
    return await read_picture_base64(service.images, picture.id, body.file_format, body.file_quality)


def format_size(picture: Picture) -> str:
    return "x".join(map(str, picture.receipt.size))
