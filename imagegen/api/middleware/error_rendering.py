"""Renders the errors that other middleware raise, in the form of the door that received the request."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagegen.api.door import Door, find_door
from imagegen.api.error_page import build_error_page, wants_error_page
from imagegen.api.error_responses import build_error_response, map_http_exception
from imagegen.api.middleware.base import Middleware
from imagegen.errors import ImageGenError, SignInRequired

CLOSE_UNAUTHENTICATED, CLOSE_FORBIDDEN = 4401, 4403


class ErrorRendering(Middleware):
    """Errors after the start of a response cannot be rendered any more, and are raised again."""

    def __init__(self, app: ASGIApp, doors: Sequence[Door]) -> None:
        super().__init__(app)
        self.doors = doors

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_started = False

        async def send_and_observe(message: Message) -> None:
            nonlocal is_started
            is_started = True
            await send(message)

        try:
            await self.app(scope, receive, send_and_observe)
        except Exception as error:
            if is_started:
                raise
            await self.send_error(map_http_exception(error), scope, receive, send)

    async def send_error(self, error: ImageGenError, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await reject_websocket(error, receive, send)
        else:
            response: Response = build_error_response(error, find_door(self.doors, scope["path"]))
            if wants_error_page(error, scope):
                response = build_error_page(error)
            await response(scope, receive, send)


async def reject_websocket(error: ImageGenError, receive: Receive, send: Send) -> None:
    """Closes the connection before it is accepted, so that the client receives HTTP status 403."""
    await receive()
    code = CLOSE_UNAUTHENTICATED if isinstance(error, SignInRequired) else CLOSE_FORBIDDEN
    await send({"type": "websocket.close", "code": code})
