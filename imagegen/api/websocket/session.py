"""One socket of one user, and its jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from imagegen.api.rest.messages import AnyRequest, build_event_message, parse_rest_request
from imagegen.api.websocket.messages import (
    build_error_message,
    close_with_error,
    parse_message,
    receive_text,
    send_message,
)
from imagegen.errors import ImageGenError, InvalidRequest, map_exception
from imagegen.schema.base import User
from imagegen.schema.validation import parse_model
from imagegen.service import Service
from imagegen.supervision import run_to_end

# Returns the user of a socket again, and raises if they may not use the studio any more.
Reauthenticate = Callable[[], Awaitable[User]]


class WebSocketSession:
    """One socket of one user, and the jobs that it started."""

    def __init__(self, service: Service, socket: WebSocket, user: User, reauthenticate: Reauthenticate) -> None:
        self.service, self.socket, self.user, self.reauthenticate = service, socket, user, reauthenticate
        self.job_tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        try:
            while True:
                text = await receive_text(self.socket)
                await self.reauthenticate()
                await self.handle_message(text)
        except ImageGenError as error:
            await close_with_error(self.socket, error)
        finally:
            await run_to_end(self.end_jobs(dict(self.job_tasks)))

    async def end_jobs(self, job_tasks: Mapping[str, asyncio.Task[None]]) -> None:
        """Cancels jobs whose socket is closed. A task that is cancelled before it began does not do so itself."""
        for task in job_tasks.values():
            task.cancel()
        await asyncio.gather(*job_tasks.values(), return_exceptions=True)
        for job_id in job_tasks:
            with suppress(ImageGenError):
                await self.service.cancel(job_id, self.user)

    async def handle_message(self, text: str) -> None:
        try:
            with self.service.count_invalid_request(self.user):
                match parse_message(text):
                    case {"type": "cancel", **rest}:
                        await self.cancel_jobs(rest.get("job_id"))
                    case {"type": "finish", **rest}:
                        await self.finish_job(rest.get("job_id"))
                    case {"type": "auth"}:
                        pass  # The headers have authenticated the user already.
                    case {"type": message_type} if message_type != "generate":
                        raise InvalidRequest("type", "must be one of generate, cancel, finish, auth")
                    case message:
                        await self.start_job({name: value for name, value in message.items() if name != "type"})
        except Exception as error:
            await send_message(self.socket, build_error_message(map_exception(error)))

    async def start_job(self, fields: dict[str, Any]) -> None:
        previews = fields.pop("previews", False)
        if not isinstance(previews, bool):
            raise InvalidRequest("previews", "must be true or false")
        request = await parse_rest_request(self.service, parse_model(AnyRequest, fields), self.user)
        job_id = await self.service.submit(request, self.user)
        task = self.job_tasks[job_id] = asyncio.create_task(self.send_events(job_id, previews))
        task.add_done_callback(lambda _: self.job_tasks.pop(job_id, None))

    async def send_events(self, job_id: str, previews: bool) -> None:
        with suppress(WebSocketDisconnect):
            try:
                async with aclosing(self.service.follow(job_id, self.user, previews)) as events:
                    async for event in events:
                        await send_message(self.socket, await build_event_message(self.service.images, job_id, event))
            except WebSocketDisconnect:
                raise
            except Exception as error:
                if self.socket.application_state is WebSocketState.CONNECTED:
                    await send_message(self.socket, build_error_message(map_exception(error), job_id))

    async def finish_job(self, job_id: Any) -> None:
        if not isinstance(job_id, str):
            raise InvalidRequest("job_id", "must be the id of a job")
        await self.service.finish_early(job_id, self.user)

    async def cancel_jobs(self, job_id: Any) -> None:
        if job_id is not None and not isinstance(job_id, str):
            raise InvalidRequest("job_id", "must be the id of a job")
        for each in [job_id] if job_id is not None else list(self.job_tasks):
            await self.service.cancel(each, self.user)
