"""Ends a stream of events when the client that receives it disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

import anyio

T = TypeVar("T")
# Returns whether the client is still connected.
ConnectionCheck = Callable[[], Awaitable[bool]]
POLL_INTERVAL_SECONDS = 0.2


async def until_disconnected(events: AsyncGenerator[T], is_connected: ConnectionCheck) -> AsyncGenerator[T]:
    """Yields the same events, and closes them when they end or the client disconnects.

    A server notices a disconnect only when it sends something. A waiting job has no events for a long time, so this
    checks the connection at intervals.
    """
    async with aclosing(add_ticks(events, POLL_INTERVAL_SECONDS)) as ticks:
        async for event in ticks:
            if not await is_connected():
                return
            if event is not None:
                yield event


async def add_ticks(events: AsyncGenerator[T], interval_seconds: float) -> AsyncGenerator[T | None]:
    """Yields the same events, and None whenever no event came for `interval_seconds`. Closes the events at the end."""
    async with aclosing(events):
        upcoming = asyncio.ensure_future(anext(events))
        try:
            while True:
                done, _ = await asyncio.wait({upcoming}, timeout=interval_seconds)
                if done:
                    yield upcoming.result()
                    upcoming = asyncio.ensure_future(anext(events))
                else:
                    yield None
        except StopAsyncIteration:
            return
        finally:
            upcoming.cancel()
            with anyio.CancelScope(shield=True):  # A cancelled caller must still wait until the events are closed.
                await asyncio.wait({upcoming})
