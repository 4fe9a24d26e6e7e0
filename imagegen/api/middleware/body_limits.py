"""Limits the size, the structure and the time of request bodies, before anything reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagegen.api.door import Door, find_door, has_prefix
from imagegen.api.json_limits import check_json_structure
from imagegen.api.middleware.base import Middleware
from imagegen.api.middleware.request_body import (
    JSON_STARTS,
    MAX_BODY_BYTES,
    METHODS_WITHOUT_BODY,
    limit_body,
    limit_body_time,
    parse_content_length,
    read_whole_body,
    replay_body,
)
from imagegen.errors import ImageGenError, PayloadTooLarge

# A prompt at its greatest length with every character written as two escape sequences fits, and so do a thousand ids.
MAX_TEXT_BODY_BYTES = 64 * 1024
MAX_BYTES_ON_EVENT_LOOP = 64 * 1024


class BodyLimits(Middleware):
    """Raises PayloadTooLarge, RequestTimeout, and InvalidRequest for JSON with too many or too deeply nested values.

    `timeout` is in seconds, see `limit_body_time`. A form is passed on while it arrives, any other body when it is
    complete.
    """

    def __init__(self, app: ASGIApp, doors: Sequence[Door], timeout: float) -> None:
        super().__init__(app)
        self.doors, self.timeout = doors, timeout

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in METHODS_WITHOUT_BODY:
            await self.app(scope, receive, send)
            return
        headers, max_bytes = Headers(scope=scope), get_max_body_bytes(self.doors, scope["path"])
        if parse_content_length(headers.get("content-length")) > max_bytes:
            raise PayloadTooLarge(max_bytes)
        limited = limit_body_time(limit_body(receive, max_bytes), self.timeout)
        content_type = headers.get("content-type", "").lower()
        if content_type.startswith("multipart/"):
            await pass_on(self.app, scope, limited, send)
            return
        body = await read_whole_body(limited)
        if body is None:  # The client has gone.
            return
        if "json" in content_type or body.lstrip().startswith(JSON_STARTS):
            await check_structure(body)
        await self.app(scope, replay_body(body, receive), send)


async def check_structure(body: bytes) -> None:
    """Checks JSON, in a thread if it is large. Raises InvalidRequest."""
    if len(body) > MAX_BYTES_ON_EVENT_LOOP:
        await asyncio.to_thread(check_json_structure, body)
    else:
        check_json_structure(body)


async def pass_on(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Runs the app. If `receive` raises one of the studio's errors, raises it instead of what the app makes of it."""
    failure: ImageGenError | None = None
    is_started = False

    async def receive_observed() -> Message:
        nonlocal failure
        try:
            return await receive()
        except ImageGenError as error:
            failure = error
            raise

    async def send_unless_failed(message: Message) -> None:
        nonlocal is_started
        if failure is None or is_started:
            is_started = True
            await send(message)

    try:
        await app(scope, receive_observed, send_unless_failed)
    except Exception:
        if failure is None or is_started:
            raise
    if failure is not None and not is_started:
        raise failure


def get_max_body_bytes(doors: Sequence[Door], path: str) -> int:
    """Returns the greatest size of a body: a small one for routes whose requests have no pictures."""
    is_text = any(has_prefix(path, prefix) for prefix in find_door(doors, path).text_paths)
    return MAX_TEXT_BODY_BYTES if is_text else MAX_BODY_BYTES
