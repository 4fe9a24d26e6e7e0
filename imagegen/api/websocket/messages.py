"""The messages of the WebSocket, in and out."""

from __future__ import annotations

import json
from typing import Any

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect

from imagegen.api.json_limits import check_json_structure
from imagegen.api.middleware.error_rendering import CLOSE_UNAUTHENTICATED
from imagegen.api.rest.messages import ErrorMessage, EventMessage, dump_message
from imagegen.errors import ImageGenError, InvalidRequest, RateLimited

CLOSE_TOO_MANY_SOCKETS = 4429


def parse_message(text: str) -> dict[str, Any]:
    """Raises InvalidRequest."""
    check_json_structure(text.encode(errors="surrogatepass"), "message")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRequest("message", "must be valid JSON") from None
    if not isinstance(message, dict):
        raise InvalidRequest("message", "must be an object")
    return message


def build_error_message(error: ImageGenError, job_id: str | None = None) -> ErrorMessage:
    field = error.field if isinstance(error, InvalidRequest) else None
    return ErrorMessage(code=error.code, message=str(error), field=field, job_id=job_id)


async def close_with_error(socket: WebSocket, error: ImageGenError) -> None:
    await send_message(socket, build_error_message(error))
    await socket.close(CLOSE_TOO_MANY_SOCKETS if isinstance(error, RateLimited) else CLOSE_UNAUTHENTICATED)


async def receive_text(socket: WebSocket) -> str:
    """Returns the next message, and "" for a binary message. Raises WebSocketDisconnect."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    return message.get("text") or ""


async def send_message(socket: WebSocket, message: EventMessage) -> None:
    await socket.send_text(dump_message(message))
