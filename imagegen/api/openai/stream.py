"""A stream of OpenAI's image API: pictures that become the one that was asked for."""

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

from imagegen.api.errors import known, openai
from imagegen.api.openai.answers import Looks, Usage, content, size
from imagegen.api.openai.requests import Asked
from imagegen.api.running import followed
from imagegen.errors import Told, WasCancelled, WorkerUnavailable
from imagegen.images import Format
from imagegen.schema import Cancelled, Event, Failed, Picture, Progress, Receipt, Result, User
from imagegen.service import Service

# What OpenAI calls the events, by what was asked for.
StreamName = Literal["image_generation", "image_edit"]


class PartialPicture(Looks):
    type: str
    b64_json: str
    created_at: int
    partial_image_index: int


class CompletedPicture(Looks):
    """`receipt` is the studio's own."""

    type: str
    b64_json: str
    created_at: int
    usage: Usage = Usage()
    receipt: Receipt


class Stream:
    """The events of a job, as whoever asked for a stream is told them."""

    def __init__(self, service: Service, asked: Asked, name: StreamName) -> None:
        self.service, self.asked, self.name = service, asked, name
        self.wanted, self.sent = asked.partial_images or 0, 0

    async def of(self, job_id: str, user: User, http: Request, keep: bool) -> AsyncGenerator[bytes]:
        """An answer has begun, so that what goes wrong is an event too."""
        try:
            events = followed(self.service, job_id, user, http, previews=self.wanted > 0, keep=keep)
            async with aclosing(events):
                async for event in events:
                    for message in await self.told(event):
                        yield sse(message)
                    if isinstance(event, Result):
                        return
            raise WorkerUnavailable("the studio stops.")
        except Exception as error:
            yield format_sse_event(event="error", data_str=json.dumps(openai(known(error))))

    async def told(self, event: Event) -> list[PartialPicture | CompletedPicture]:
        """Raises Told when the job failed, and WasCancelled."""
        match event:
            case Progress(preview=str(preview)) if self.is_due(event):
                return [await self.partial(preview)]
            case Result():
                return [await self.completed(picture) for picture in event.pictures]
            case Failed():
                raise Told(event.code, event.message)
            case Cancelled():
                raise WasCancelled
            case _:
                return []

    def is_due(self, progress: Progress) -> bool:
        """They are spread evenly: the first of two comes after a third of the steps, the second after two thirds."""
        return self.sent < self.wanted and progress.share >= (self.sent + 1) / (self.wanted + 1)

    async def partial(self, preview: str) -> PartialPicture:
        file, size = await asyncio.to_thread(in_format, preview, self.asked.file_format, self.asked.file_quality)
        self.sent += 1
        return PartialPicture(
            type=f"{self.name}.partial_image",
            b64_json=file,
            created_at=int(time.time()),
            output_format=self.asked.file_format,
            size=size,
            partial_image_index=self.sent - 1,
        )

    async def completed(self, picture: Picture) -> CompletedPicture:
        return CompletedPicture(
            type=f"{self.name}.completed",
            b64_json=await content(self.service, picture, self.asked),
            created_at=int(time.time()),
            output_format=self.asked.file_format,
            size=size(picture),
            receipt=picture.receipt,
        )


def sse(message: PartialPicture | CompletedPicture) -> bytes:
    return format_sse_event(event=message.type, data_str=message.model_dump_json())


def in_format(preview: str, to: Format, quality: int) -> tuple[str, str]:
    """A preview as a file of the format that was asked for, in base64, and its own size: it may be smaller."""
    buffer = BytesIO()
    with Image.open(BytesIO(base64.b64decode(preview))) as image:
        image.save(buffer, format=to.upper(), quality=quality)
        return base64.b64encode(buffer.getvalue()).decode("ascii"), f"{image.width}x{image.height}"
