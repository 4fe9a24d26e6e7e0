"""Responses of server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import anyio
from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from imagegen.disconnects import add_ticks

# Proxies close connections on which nothing is sent for long.
KEEPALIVE_SECONDS = 15.0
# For the API documentation.
EVENT_STREAM_CONTENT: dict[str, Any] = {"content": {"text/event-stream": {}}}
EVENT_STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class EventStreamResponse(StreamingResponse):
    """Calls `on_close` at the end, also when the client disconnected before the first event."""

    def __init__(self, events: AsyncGenerator[bytes], on_close: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__(add_keepalives(events), media_type="text/event-stream", headers=EVENT_STREAM_HEADERS)
        self.on_close = on_close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self.on_close is not None:
                with anyio.CancelScope(shield=True):
                    await self.on_close()


async def add_keepalives(events: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Yields the same events, and a comment whenever no event came for a while."""
    async with aclosing(add_ticks(events, KEEPALIVE_SECONDS)) as ticks:
        async for event in ticks:
            yield format_sse_event(comment="still there") if event is None else event
