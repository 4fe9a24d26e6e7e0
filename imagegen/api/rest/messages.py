"""The messages of REST and of the WebSocket: requests, answers and events."""

from __future__ import annotations

import asyncio
import json
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, create_model
from pydantic.fields import FieldInfo

from imagegen.media.base64_images import encode_base64
from imagegen.media.outputs import ImageFormat
from imagegen.schema.base import FrozenModel, User
from imagegen.schema.events import Cancelled, Event, Failed, Progress, Queued, Result
from imagegen.schema.field_types import Prompt
from imagegen.schema.input_images import ENTRY_IMAGES, get_entry_type
from imagegen.schema.receipt import Picture, Receipt
from imagegen.schema.request import INPUT_IMAGES, GenerationRequest, RequestRules, list_task_fields
from imagegen.schema.tasks import TASKS, TaskName
from imagegen.schema.validation import parse_request
from imagegen.sent_images import store_encoded_images
from imagegen.service import Service
from imagegen.storage.files import ImageStore
from imagegen.storage.jobs import Job, JobState

PICTURE_FORMS = "A picture in base64 or as a data URI, or the id of one of yours."
ImageReference = Annotated[str, Field(description=PICTURE_FORMS)]
# Of the tasks that need a prompt.
PROMPT_FIELD: Any = Field(description=GenerationRequest.model_fields["prompt"].description)


class RequestBody(RequestRules):
    """The body of a request. `task` is the one that it is for, None for all."""

    task: ClassVar[TaskName | None] = None


@cache
def create_task_model(name: str, summary: str, task: TaskName) -> Any:
    """Returns the class of a request body for a task: its fields, of which input pictures may come as text."""
    own = TASKS[task]
    definitions = {field: define_field(field, own.defaults.get(field)) for field in list_task_fields(task)}
    for field in own.required_fields:
        definitions[field] = (ImageReference, ...) if field in INPUT_IMAGES else (Prompt, PROMPT_FIELD)
    model = create_request_model(name, summary, definitions)
    model.task = task
    return model


def define_field(field: str, default: Any = None) -> tuple[Any, Any]:
    """Returns the type and the definition of a field that may be left open, with another default if there is one."""
    info = GenerationRequest.model_fields[field]
    if field in INPUT_IMAGES:
        return ImageReference | None, None
    if field in ENTRY_IMAGES:
        return tuple[create_entry_model(field), ...], info  # type: ignore[misc]
    return info.annotation, info if default is None else FieldInfo.merge_field_infos(info, default=default)


@cache
def create_entry_model(field: str) -> Any:
    """Returns the class of the entries of a list of a request, of which input pictures may come as text."""
    entry = get_entry_type(field)
    assert entry is not None
    definitions: dict[str, Any] = {}
    for name in ENTRY_IMAGES[field]:
        info = entry.model_fields[name]
        definitions[name] = ImageReference, Field(description=f"{info.description} {PICTURE_FORMS}")
    return create_model(f"{entry.__name__}Body", __base__=entry, __module__=__name__, **definitions)


def create_request_model(name: str, summary: str, definitions: dict[str, Any]) -> Any:
    return create_model(name, __base__=RequestBody, __module__=__name__, __doc__=summary, **definitions)


TextToImage = create_task_model(
    "TextToImage",
    "What decides a picture that is made from a prompt. What is left open is filled in from the model.",
    "text_to_image",
)
ImageToImage = create_task_model(
    "ImageToImage", "What decides a picture that is made from another picture and a prompt.", "image_to_image"
)
Inpainting = create_task_model("Inpainting", "What decides a picture whose masked part is painted anew.", "inpainting")
Outpainting = create_task_model(
    "Outpainting",
    "What decides a picture that is another picture, extended beyond its edges. Its size is that of the extended one.",
    "outpainting",
)
Upscaling = create_task_model("Upscaling", "What decides a picture that is made larger.", "upscale")
AnyRequest = create_request_model(
    "AnyRequest",
    "What decides a picture: one that is made from a prompt and perhaps other pictures, or one that is made larger.",
    {field: define_field(field) for field in GenerationRequest.model_fields},
)


class PictureAnswer(FrozenModel):
    """`url` needs the same sign-in as all routes. `image_b64` is a PNG file with the receipt inside."""

    id: str
    url: str
    seed: int | None
    receipt: Receipt
    image_b64: str | None = None


class Generation(PictureAnswer):
    """A finished picture; of several, the first, and the `others`. Memory is in units of 2^20 bytes."""

    job_id: str
    latency_ms: int
    vram_peak_mb: float | None
    nsfw_detected: bool | None
    others: tuple[PictureAnswer, ...] = ()


class Problem(FrozenModel):
    """`code` is for programs, `message` for users; `field` is the field that is wrong, if it is one."""

    code: str
    message: str
    field: str | None = None


class ProblemAnswer(FrozenModel):
    error: Problem


class JobAnswer(FrozenModel):
    """Times are in seconds since 1970; a job that the output cache answers is never `started`.

    `position` is how many jobs come before, `progress` between 0 and 1. `prompt` and `model` are those of the request,
    null if another version of the studio stored it in an unknown form.
    """

    id: str
    state: JobState
    created: float
    started: float | None
    finished: float | None
    prompt: str | None = None
    model: str | None = None
    position: int | None = None
    progress: float | None = None
    step: int | None = None
    steps: int | None = None
    seconds_left: float | None = None
    result: Generation | None = None
    error: Problem | None = None


class JobList(FrozenModel):
    """`next` is the value of `after` for the next page, null on the last."""

    jobs: tuple[JobAnswer, ...]
    next: str | None


class ProgressMessage(FrozenModel):
    """`progress` is between 0 and 1, of the whole job; `step` and `steps` are of its stage `stage` of `stages`.

    `preview` is a small JPEG in base64, if previews were requested.
    """

    type: Literal["progress"] = "progress"
    job_id: str
    progress: float
    step: int
    steps: int
    stage: int = 1
    stages: int = 1
    seconds_left: float | None = None
    preview: str | None = None


class ResultMessage(FrozenModel):
    type: Literal["result"] = "result"
    job_id: str
    data: Generation


class ErrorMessage(Problem):
    type: Literal["error"] = "error"
    job_id: str | None = None


class StateMessage(FrozenModel):
    """`position` is set while the job waits, `model` while a model is loaded."""

    type: Literal["queued", "started", "loading", "cancelled"]
    job_id: str
    position: int | None = None
    model: str | None = None


EventMessage = ProgressMessage | ResultMessage | ErrorMessage | StateMessage


def dump_message(message: FrozenModel) -> str:
    """Returns a message as JSON, without its empty fields; null inside a field stays."""
    return json.dumps({name: value for name, value in message.model_dump(mode="json").items() if value is not None})


async def parse_rest_request(service: Service, body: RequestBody, user: User) -> GenerationRequest:
    """Returns the request in a body, with its input pictures stored. Raises InvalidRequest."""
    fields = body.model_dump(exclude_unset=True)
    return parse_request(await store_encoded_images(service, fields, user), body.task)


async def build_generation(images: ImageStore, job_id: str, result: Result, include_files: bool = True) -> Generation:
    """Returns the answer for a finished job, with or without the files."""
    first, *others = [await build_picture_answer(images, picture, include_files) for picture in result.pictures]
    result_fields = result.model_dump(include={"latency_ms", "vram_peak_mb", "nsfw_detected"})
    return Generation(**dict(first), **result_fields, job_id=job_id, others=tuple(others))


async def build_picture_answer(images: ImageStore, picture: Picture, include_file: bool) -> PictureAnswer:
    content = await read_picture_base64(images, picture.id) if include_file else None
    return PictureAnswer(
        id=picture.id,
        url=f"/v1/images/{picture.id}",
        seed=picture.receipt.seed,
        receipt=picture.receipt,
        image_b64=content,
    )


async def read_picture_base64(
    images: ImageStore, picture_id: str, file_format: ImageFormat = "png", quality: int = 90
) -> str:
    content = await asyncio.to_thread(images.read_picture, picture_id, file_format, quality)
    return encode_base64(content)


async def build_event_message(
    images: ImageStore, job_id: str, event: Event, include_files: bool = True
) -> EventMessage:
    """Returns the message for an event of a job."""
    match event:
        case Progress():
            event_fields = event.model_dump(include={"step", "steps", "stage", "stages", "seconds_left", "preview"})
            return ProgressMessage(job_id=job_id, progress=round(event.fraction, 4), **event_fields)
        case Result():
            return ResultMessage(job_id=job_id, data=await build_generation(images, job_id, event, include_files))
        case Failed():
            return ErrorMessage(job_id=job_id, code=event.code, message=event.message)
        case _:
            event_fields = event.model_dump(include={"type", "position", "model"})
            return StateMessage(job_id=job_id, **event_fields)


async def build_job_answer(images: ImageStore, job: Job, latest: Event) -> JobAnswer:
    """Returns the state of a job, without the files."""
    request = job.readable_request
    job_fields = JobAnswer(
        **{name: getattr(job, name) for name in ("id", "state", "created", "started", "finished")},
        prompt=request and request.prompt,
        model=request and request.model,
    )
    match latest:
        case Queued():
            return job_fields.model_copy(update={"position": latest.position})
        case Progress():
            progress_fields = latest.model_dump(include={"step", "steps", "seconds_left"})
            return job_fields.model_copy(update=progress_fields | {"progress": round(latest.fraction, 4)})
        case Result():
            return job_fields.model_copy(
                update={"result": await build_generation(images, job.id, latest, include_files=False)}
            )
        case Failed():
            # A job that is done has failed for this version of the studio if it cannot read the stored result.
            return job_fields.model_copy(
                update={"state": "failed", "error": Problem(code=latest.code, message=latest.message)}
            )
        case Cancelled():
            return job_fields
        case _:
            return job_fields.model_copy(update={"progress": 0.0})
