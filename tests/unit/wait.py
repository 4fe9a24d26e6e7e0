"""Waits for conditions in tasks and in threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def let_tasks_settle() -> None:
    """Waits until all pending tasks have run. Some use a thread, and a busy machine is slow to start threads."""
    for _ in range(10):
        await asyncio.to_thread(time.sleep, 0.002)


async def wait_until_true(condition: Callable[[], object]) -> None:
    """Waits until the condition holds. Raises AssertionError after a long time."""
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("nothing happened")
