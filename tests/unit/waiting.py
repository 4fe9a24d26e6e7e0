"""Waiting for what happens by itself, in tasks and in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def settled() -> None:
    """Everything that can happen without news from outside has happened. Some of it goes through a thread."""
    for _ in range(10):
        await asyncio.sleep(0.002)


async def until(happened: Callable[[], object]) -> None:
    """Raises AssertionError when it has not happened after a very long time."""
    for _ in range(5000):
        if happened():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("nothing happened")
