"""What REST and the WebSocket take and give."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Annotated, Literal

from pydantic import Field

from imagegen.api.pictures import stored
from imagegen.images import Format, ImageStore, converted
from imagegen.jobs import Job, State
from imagegen.schema import (
    STRENGTH,
    Cancelled,
    Event,
    Failed,
    GenerationRequest,
    Message,
    Picture,
    Progress,
    Queued,
    Receipt,
    Result,
    Strength,
    TextToImage,
    User,
)
from imagegen.service import Service
from imagegen.validation import parse_request

Base64 = Annotated[str, Field(description="A picture in base64 or as a data URI, or the id of one of yours.")]


class AnyRequest(TextToImage):
    """A picture out of words, or out of words and a picture."""

    init_image: Base64 | None = None
    strength: Strength | None = Field(None, description=STRENGTH)


class ImageToImage(TextToImage):
    """A picture made anew, from it and from words."""

    init_image: Base64
    strength: Strength | None = Field(None, description=STRENGTH)


class PictureAnswer(Message):
    """`url` needs the same sign-in as everything else. `image_b64` is a PNG file with the receipt inside."""

    id: str
    url: str
    seed: int
    receipt: Receipt
    image_b64: str | None = None


class Generation(PictureAnswer):
    """A finished picture; of several, the first, and the `others`. Memory is in units of 2^20 bytes."""

    job_id: str
    latency_ms: int
    vram_peak_mb: float | None
    nsfw_detected: bool | None
    others: tuple[PictureAnswer, ...] = ()


class Problem(Message):
    """`code` is for programs, `message` for people; `field` is the one that is wrong, where it is one."""

    code: str
    message: str
    field: str | None = None


class ProblemAnswer(Message):
    error: Problem


class JobAnswer(Message):
    """Times are in seconds since 1970; what the output cache answers is never `started`.

    `position` is how many jobs come before, `progress` between 0 and 1.
    """

    id: str
    state: State
    created: float
    started: float | None
    finished: float | None
    position: int | None = None
    progress: float | None = None
    step: int | None = None
    steps: int | None = None
    seconds_left: float | None = None
    result: Generation | None = None
    error: Problem | None = None


class ProgressMessage(Message):
    """`progress` is between 0 and 1; `preview` a small JPEG in base64, for those who asked for previews."""

    type: Literal["progress"] = "progress"
    job_id: str
    progress: float
    step: int
    steps: int
    seconds_left: float | None = None
    preview: str | None = None


class ResultMessage(Message):
    type: Literal["result"] = "result"
    job_id: str
    data: Generation


class ErrorMessage(Problem):
    type: Literal["error"] = "error"
    job_id: str | None = None


class StateMessage(Message):
    """`position` is told while the job waits, `model` while one is loaded."""

    type: Literal["queued", "started", "loading", "cancelled"]
    job_id: str
    position: int | None = None
    model: str | None = None


Outgoing = ProgressMessage | ResultMessage | ErrorMessage | StateMessage


def as_json(message: Message) -> str:
    """Without the facts that it does not tell; what is inside those that it tells stays whole."""
    return json.dumps({name: value for name, value in message.model_dump(mode="json").items() if value is not None})


async def parsed(service: Service, asked: TextToImage, user: User) -> GenerationRequest:
    """The request itself, with its picture stored. Raises InvalidRequest."""
    fields = asked.model_dump(exclude_unset=True)
    if fields.get("init_image") is not None:
        fields["init_image"] = await stored(service, fields["init_image"], user)
    return parse_request(fields)


async def generation(images: ImageStore, job_id: str, result: Result, files: bool = True) -> Generation:
    """What a finished job is for those who asked; with or without the `files` themselves."""
    first, *others = [await answer(images, picture, files) for picture in result.pictures]
    facts = result.model_dump(include={"latency_ms", "vram_peak_mb", "nsfw_detected"})
    return Generation(**dict(first), **facts, job_id=job_id, others=tuple(others))


async def answer(images: ImageStore, picture: Picture, files: bool) -> PictureAnswer:
    content = await in_base64(images, picture.id) if files else None
    return PictureAnswer(
        id=picture.id,
        url=f"/v1/images/{picture.id}",
        seed=picture.receipt.seed,
        receipt=picture.receipt,
        image_b64=content,
    )


async def in_base64(images: ImageStore, picture_id: str, to: Format = "png", quality: int = 90) -> str:
    content = await asyncio.to_thread(converted, images.path(picture_id), to, quality)
    return base64.b64encode(content).decode("ascii")


async def outgoing(images: ImageStore, job_id: str, event: Event, files: bool = True) -> Outgoing:
    """An event of a job, as watchers are told."""
    match event:
        case Progress():
            facts = event.model_dump(include={"step", "steps", "seconds_left", "preview"})
            return ProgressMessage(job_id=job_id, progress=round(event.share, 4), **facts)
        case Result():
            return ResultMessage(job_id=job_id, data=await generation(images, job_id, event, files))
        case Failed():
            return ErrorMessage(job_id=job_id, code=event.code, message=event.message)
        case _:
            facts = event.model_dump(include={"type", "position", "model"})
            return StateMessage(job_id=job_id, **facts)


async def job_answer(images: ImageStore, job: Job, latest: Event) -> JobAnswer:
    """How a job stands, without the files."""
    known = JobAnswer(id=job.id, state=job.state, created=job.created, started=job.started, finished=job.finished)
    match latest:
        case Queued():
            return known.model_copy(update={"position": latest.position})
        case Progress():
            facts = latest.model_dump(include={"step", "steps", "seconds_left"})
            return known.model_copy(update=facts | {"progress": round(latest.share, 4)})
        case Result():
            return known.model_copy(update={"result": await generation(images, job.id, latest, files=False)})
        case Failed():
            return known.model_copy(update={"error": Problem(code=latest.code, message=latest.message)})
        case Cancelled():
            return known
        case _:
            return known.model_copy(update={"progress": 0.0})
