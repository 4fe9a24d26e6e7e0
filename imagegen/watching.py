"""Following something for as long as somebody is there to see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

import anyio

T = TypeVar("T")
LOOK_AGAIN = 0.2


async def while_there(events: AsyncGenerator[T], is_there: Callable[[], Awaitable[bool]]) -> AsyncGenerator[T]:
    """The same events, until they end or nobody is left to see them; then they are closed.

    A server notices that a client is gone only when there is something to tell it. A job that waits has nothing to tell
    for a long time, so this looks by itself.
    """
    async with aclosing(ticking(events, LOOK_AGAIN)) as ticks:
        async for event in ticks:
            if not await is_there():
                return
            if event is not None:
                yield event


async def ticking(events: AsyncGenerator[T], seconds: float) -> AsyncGenerator[T | None]:
    """The same events, and None whenever none has come for so long. Closes them in the end."""
    async with aclosing(events):
        upcoming = asyncio.ensure_future(anext(events))
        try:
            while True:
                done, _ = await asyncio.wait({upcoming}, timeout=seconds)
                if done:
                    yield upcoming.result()
                    upcoming = asyncio.ensure_future(anext(events))
                else:
                    yield None
        except StopAsyncIteration:
            return
        finally:
            upcoming.cancel()
            with anyio.CancelScope(shield=True):  # Or who is cancelled himself would not wait for the end of it.
                await asyncio.wait({upcoming})
