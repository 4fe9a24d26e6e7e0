"""Server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse

from imagegen.watching import ticking

# Proxies close a connection on which nothing is said for long.
SILENCE = 15.0
# For the documentation.
EVENTS: dict[str, Any] = {"content": {"text/event-stream": {}}}
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def event_stream(events: AsyncGenerator[bytes]) -> StreamingResponse:
    return StreamingResponse(with_comments(events), media_type="text/event-stream", headers=HEADERS)


async def with_comments(events: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The same events, and a comment whenever none has come for a while."""
    async with aclosing(ticking(events, SILENCE)) as ticks:
        async for event in ticks:
            yield format_sse_event(comment="still there") if event is None else event
