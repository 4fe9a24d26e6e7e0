"""Server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import anyio
from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from imagegen.watching import ticking

# Proxies close a connection on which nothing is said for long.
SILENCE = 15.0
# For the documentation.
EVENTS: dict[str, Any] = {"content": {"text/event-stream": {}}}
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class EventStream(StreamingResponse):
    """`finish` is called in the end, also when the client left before the first event."""

    def __init__(self, events: AsyncGenerator[bytes], finish: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__(with_comments(events), media_type="text/event-stream", headers=HEADERS)
        self.finish = finish

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self.finish is not None:
                with anyio.CancelScope(shield=True):
                    await self.finish()


async def with_comments(events: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The same events, and a comment whenever none has come for a while."""
    async with aclosing(ticking(events, SILENCE)) as ticks:
        async for event in ticks:
            yield format_sse_event(comment="still there") if event is None else event
