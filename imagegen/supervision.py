"""Keeps background loops running: an error is logged, and the loop starts again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_DELAY_SECONDS = 10.0


class Backoff:
    """Delays in seconds between attempts: each is twice as long as the one before, up to MAX_DELAY_SECONDS."""

    def __init__(self, first: float = 0.25) -> None:
        self._first = self._next = first

    def reset(self) -> None:
        """To be called after a success."""
        self._next = self._first

    def take(self) -> float:
        delay, self._next = self._next, min(self._next * 2, MAX_DELAY_SECONDS)
        return delay


async def supervise(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Calls a loop that should not end before it is cancelled, and calls it again whenever it raises."""
    backoff = Backoff()
    while True:
        try:
            return await run()
        except Exception:
            delay = backoff.take()
            logger.exception("A background loop failed", extra={"action": "loop_failed", "loop": name, "delay": delay})
            await asyncio.sleep(delay)


async def run_to_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """Returns the result of a coroutine, which goes on to its end if the caller is cancelled meanwhile."""
    return await asyncio.shield(asyncio.create_task(coroutine))
