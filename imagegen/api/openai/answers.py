"""What OpenAI's image API gives."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from starlette.requests import Request

from imagegen.api.described import problems
from imagegen.api.openai.requests import Asked
from imagegen.api.wire import in_base64
from imagegen.images import Format
from imagegen.schema import Message, Picture, Receipt, Result, User
from imagegen.service import Service


class Tokens(Message):
    text_tokens: int = 0
    image_tokens: int = 0


class Usage(Message):
    """Nothing is counted in tokens here."""

    input_tokens: int = 0
    input_tokens_details: Tokens = Tokens()
    output_tokens: int = 0
    total_tokens: int = 0


class EncodedPicture(Message):
    b64_json: str


class LinkedPicture(Message):
    """`url` needs the same Authorization as everything else."""

    url: str


class Looks(Message):
    """How the pictures of an answer are, in OpenAI's words."""

    background: Literal["opaque"] = "opaque"
    output_format: Format
    quality: Literal["auto"] = "auto"
    size: str


class ImagesAnswer(Looks):
    """`created` is in seconds since 1970. `receipts` is the studio's own: all that decided each picture."""

    created: int
    data: tuple[EncodedPicture | LinkedPicture, ...]
    usage: Usage = Usage()
    receipts: tuple[Receipt, ...]


class ModelCard(Message):
    """A model that can be used now. `created` is when its files last changed, in seconds since 1970."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelCards(Message):
    object: Literal["list"] = "list"
    data: tuple[ModelCard, ...]


class OpenAIProblem(Message):
    """`code` is for programs, `message` for people; `param` is the field that is wrong, where it is one."""

    message: str
    type: str
    param: str | None
    code: str


class OpenAIProblemAnswer(Message):
    error: OpenAIProblem = Field(description="OpenAI's clients make an exception of it.")


OPENAI_PROBLEMS = problems(OpenAIProblemAnswer)


async def answer(
    service: Service, job_id: str, result: Result, asked: Asked, http: Request, user: User
) -> ImagesAnswer:
    job = service.job(job_id, user)
    return ImagesAnswer(
        created=int(job.finished or job.created),
        data=tuple([await entry(service, picture, asked, http) for picture in result.pictures]),
        output_format=asked.file_format,
        size=size(result.pictures[0]),
        receipts=tuple(picture.receipt for picture in result.pictures),
    )


async def entry(service: Service, picture: Picture, asked: Asked, http: Request) -> EncodedPicture | LinkedPicture:
    if asked.response_format == "url":
        return LinkedPicture(url=address(service, picture, asked, http))
    return EncodedPicture(b64_json=await content(service, picture, asked))


def address(service: Service, picture: Picture, asked: Asked, http: Request) -> str:
    base = (service.settings.public_url or str(http.base_url)).rstrip("/")
    form = "" if asked.file_format == "png" else f"?format={asked.file_format}&quality={max(1, asked.file_quality)}"
    return f"{base}/v1/images/{picture.id}{form}"


async def content(service: Service, picture: Picture, asked: Asked) -> str:
    return await in_base64(service.images, picture.id, asked.file_format, asked.file_quality)


def size(picture: Picture) -> str:
    return f"{picture.receipt.width}x{picture.receipt.height}"
