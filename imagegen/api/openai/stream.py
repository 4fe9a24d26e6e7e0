"""The event stream of OpenAI's image API: partial pictures, then the completed ones."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from io import BytesIO
from typing import Literal

from fastapi.sse import format_sse_event
from PIL import Image
from starlette.requests import Request

from imagegen.api.openai.errors import format_openai_error
from imagegen.api.openai.requests import ImageRequest
from imagegen.api.openai.responses import ImageAttributes, Usage, encode_image, format_size
from imagegen.api.rest.dependencies import follow_job
from imagegen.errors import JobCancelled, RemoteError, WorkerUnavailable, map_exception
from imagegen.media.outputs import ImageFormat
from imagegen.schema.base import User
from imagegen.schema.events import Cancelled, Event, Failed, Progress, Result
from imagegen.schema.receipt import Picture, Receipt
from imagegen.service import Service

# The first part of OpenAI's event names, which depends on the route.
EventPrefix = Literal["image_generation", "image_edit"]


class PartialPicture(ImageAttributes):
    type: str
    b64_json: str
    created_at: int
    partial_image_index: int


class CompletedPicture(ImageAttributes):
    """`receipt` is an addition of the studio."""

    type: str
    b64_json: str
    created_at: int
    usage: Usage = Usage()
    receipt: Receipt


class ImageEventStream:
    """Converts the events of one job to those of OpenAI's API."""

    def __init__(self, service: Service, body: ImageRequest, event_prefix: EventPrefix) -> None:
        self.service, self.body, self.event_prefix = service, body, event_prefix
        self.max_partials, self.sent_partials = body.partial_images or 0, 0

    async def encode_events(self, job_id: str, user: User, http: Request, keep: bool) -> AsyncGenerator[bytes]:
        """Yields the encoded events. An error is an event too, because the response has begun."""
        try:
            events = follow_job(self.service, job_id, user, http, previews=self.max_partials > 0, keep=keep)
            async with aclosing(events):
                async for event in events:
                    for message in await self.convert_event(event):
                        yield format_stream_event(message)
                    if isinstance(event, Result):
                        return
            raise WorkerUnavailable("the studio is shutting down.")
        except Exception as error:
            yield format_sse_event(event="error", data_str=json.dumps(format_openai_error(map_exception(error))))

    async def convert_event(self, event: Event) -> list[PartialPicture | CompletedPicture]:
        """Raises RemoteError when the job failed, and JobCancelled."""
        match event:
            case Progress(preview=str(preview)) if self.is_due(event):
                return [await self.build_partial_picture(preview)]
            case Result():
                return [await self.build_completed_picture(picture) for picture in event.pictures]
            case Failed():
                raise RemoteError(event.code, event.message)
            case Cancelled():
                raise JobCancelled
            case _:
                return []

    def is_due(self, progress: Progress) -> bool:
        """Whether to send a partial picture now. They are spread evenly: two come after 1/3 and 2/3 of the steps."""
        return self.sent_partials < self.max_partials and progress.fraction >= (self.sent_partials + 1) / (
            self.max_partials + 1
        )

    async def build_partial_picture(self, preview: str) -> PartialPicture:
        file, size = await asyncio.to_thread(convert_preview, preview, self.body.file_format, self.body.file_quality)
        self.sent_partials += 1
        return PartialPicture(
            type=f"{self.event_prefix}.partial_image",
            b64_json=file,
            created_at=int(time.time()),
            output_format=self.body.file_format,
            quality=self.body.quality_level or "auto",
            size=size,
            partial_image_index=self.sent_partials - 1,
        )

    async def build_completed_picture(self, picture: Picture) -> CompletedPicture:
        return CompletedPicture(
            type=f"{self.event_prefix}.completed",
            b64_json=await encode_image(self.service, picture, self.body),
            created_at=int(time.time()),
            output_format=self.body.file_format,
            quality=self.body.quality_level or "auto",
            size=format_size(picture),
            receipt=picture.receipt,
        )


def format_stream_event(message: PartialPicture | CompletedPicture) -> bytes:
    return format_sse_event(event=message.type, data_str=message.model_dump_json())


def convert_preview(preview: str, file_format: ImageFormat, quality: int) -> tuple[str, str]:
    """Returns a preview in the requested format, in base64, and its size, which may be smaller than the picture."""
    buffer = BytesIO()
    with Image.open(BytesIO(base64.b64decode(preview))) as image:
        image.save(buffer, format=file_format.upper(), quality=quality)
        return base64.b64encode(buffer.getvalue()).decode("ascii"), f"{image.width}x{image.height}"
