"""The WebSocket at /v1/ws: requests in, events out.

In: `{"prompt": "a red circle", "previews": true, …}` begins a job, with the fields of REST; `{"type": "cancel"}` ends
those of this socket, or with a `job_id` the one. Out: each event of each job, with its `job_id`. Closing ends the jobs.
Who does not sign in with the headers of the handshake sends `{"type": "auth", "token": "hf_…"}` first.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import Any

from fastapi import APIRouter, WebSocket
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect, WebSocketState

from imagegen.api.callers import Callers, address
from imagegen.api.errors import known
from imagegen.api.wire import AnyRequest, ErrorMessage, Outgoing, as_json, outgoing, parsed
from imagegen.errors import ImageGenError, InvalidRequest, SignInRequired, TooMuch
from imagegen.schema import User
from imagegen.service import Service
from imagegen.validation import first_problem

SIGN_IN_WITHIN = 5.0
# Of what comes before somebody signed in, in characters.
FIRST_FRAME = 8192
# One for each page that somebody may have open, and some.
SOCKETS = 16
# Of those that nobody signed in at yet.
MOST_WAITING = 100
CLOSED_UNKNOWN, CLOSED_TOO_MANY = 4401, 4429


Who = Callable[[], Awaitable[User]]


class Sockets:
    """Counts them, by user."""

    def __init__(self, service: Service, callers: Callers) -> None:
        self.service, self.callers = service, callers
        self.open: dict[str, int] = {}
        self.waiting = 0

    def router(self) -> APIRouter:
        router = APIRouter()
        router.add_api_websocket_route("/v1/ws", self.serve)
        return router

    async def serve(self, socket: WebSocket) -> None:
        await socket.accept()
        with suppress(WebSocketDisconnect, RuntimeError):
            try:
                who = await self.signed_in(socket) if socket.state.user is None else partial(self.by_headers, socket)
                user = await who()
                self.enter(user)
            except ImageGenError as error:
                await end(socket, error)
                return
            try:
                await Conversation(self.service, socket, user, who).hold()
            finally:
                self.leave(user)

    async def by_headers(self, socket: WebSocket) -> User:
        """Raises SignInRequired and what `Callers` raise."""
        user = await self.callers.caller(socket)
        if user is None:
            raise SignInRequired(what="a token")
        return user

    async def signed_in(self, socket: WebSocket) -> Who:
        """By the first message. Raises SignInRequired, and TooMuch when too many others are about to."""
        if self.waiting >= MOST_WAITING:
            raise TooMuch(retry_after=1)
        self.waiting += 1
        try:
            async with asyncio.timeout(SIGN_IN_WITHIN):
                text = await received(socket)
        except TimeoutError:
            raise SignInRequired(what="a first message with a token") from None
        finally:
            self.waiting -= 1
        match decoded(text) if len(text) <= FIRST_FRAME else {}:
            case {"type": "auth", "token": str(token)}:
                return partial(self.callers.known, token, address(socket))
            case _:
                raise SignInRequired(what="a first message with a token")

    def enter(self, user: User) -> None:
        """Raises TooMuch."""
        if self.open.get(user.id, 0) >= SOCKETS:
            raise TooMuch(retry_after=1)
        self.open[user.id] = self.open.get(user.id, 0) + 1

    def leave(self, user: User) -> None:
        self.open[user.id] -= 1
        if not self.open[user.id]:
            del self.open[user.id]


class Conversation:
    """One socket of one user, and the jobs that it began. `who` tells who that is, if he still may."""

    def __init__(self, service: Service, socket: WebSocket, user: User, who: Who) -> None:
        self.service, self.socket, self.user, self.who = service, socket, user, who
        self.jobs: dict[str, asyncio.Task[None]] = {}

    async def hold(self) -> None:
        try:
            while True:
                text = await received(self.socket)
                await self.who()
                await self.heard(text)
        except ImageGenError as error:
            await end(self.socket, error)
        finally:
            for task in self.jobs.values():
                task.cancel()
            await asyncio.gather(*self.jobs.values(), return_exceptions=True)

    async def heard(self, text: str) -> None:
        try:
            match decoded(text):
                case {"type": "cancel", **rest}:
                    await self.cancel(rest.get("job_id"))
                case {"type": "auth"}:
                    pass  # The headers have said it already.
                case {"type": kind} if kind != "generate":
                    raise InvalidRequest("type", "must be one of generate, cancel, auth")
                case message:
                    await self.begin({name: value for name, value in message.items() if name != "type"})
        except Exception as error:
            await say(self.socket, problem(known(error)))

    async def begin(self, fields: dict[str, Any]) -> None:
        previews = fields.pop("previews", False)
        if not isinstance(previews, bool):
            raise InvalidRequest("previews", "must be true or false")
        request = await parsed(self.service, asked(fields), self.user)
        job_id = await self.service.submit(request, self.user)
        task = self.jobs[job_id] = asyncio.create_task(self.tell(job_id, previews))
        task.add_done_callback(lambda _: self.jobs.pop(job_id, None))

    async def tell(self, job_id: str, previews: bool) -> None:
        with suppress(WebSocketDisconnect):
            try:
                async with aclosing(self.service.follow(job_id, self.user, previews)) as events:
                    async for event in events:
                        await say(self.socket, await outgoing(self.service.images, job_id, event))
            except WebSocketDisconnect:
                raise
            except Exception as error:
                if self.socket.application_state is WebSocketState.CONNECTED:
                    await say(self.socket, problem(known(error)).model_copy(update={"job_id": job_id}))

    async def cancel(self, job_id: Any) -> None:
        if job_id is not None and not isinstance(job_id, str):
            raise InvalidRequest("job_id", "must be the id of a job")
        for each in [job_id] if job_id is not None else list(self.jobs):
            await self.service.cancel(each, self.user)


def asked(fields: dict[str, Any]) -> AnyRequest:
    """Raises InvalidRequest."""
    try:
        return AnyRequest(**fields)
    except ValidationError as error:
        raise InvalidRequest(*first_problem(error.errors(include_url=False, include_input=False)[0])) from None


def decoded(text: str) -> dict[str, Any]:
    """Raises InvalidRequest."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRequest("message", "must be valid JSON") from None
    if not isinstance(message, dict):
        raise InvalidRequest("message", "must be an object")
    return message


def problem(error: ImageGenError) -> ErrorMessage:
    field = error.field if isinstance(error, InvalidRequest) else None
    return ErrorMessage(code=error.code, message=str(error), field=field)


async def end(socket: WebSocket, error: ImageGenError) -> None:
    await say(socket, problem(error))
    await socket.close(CLOSED_TOO_MANY if isinstance(error, TooMuch) else CLOSED_UNKNOWN)


async def received(socket: WebSocket) -> str:
    """The next message; what is not text is empty. Raises WebSocketDisconnect."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    return message.get("text") or ""


async def say(socket: WebSocket, message: Outgoing) -> None:
    await socket.send_text(as_json(message))
