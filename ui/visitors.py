"""Who is asking, and whether they are still there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

import gradio as gr
from gradio.context import LocalContext
from gradio.queueing import Event as Visit

from imagegen.schema import User

T = TypeVar("T")
LOOK_AGAIN = 0.2


def user_of(http: gr.Request) -> User:
    """Without sign-in, whoever reaches the studio is its owner."""
    return User(id=http.username or f"session:{http.session_hash}", is_owner=True)


async def while_watched(events: AsyncGenerator[T]) -> AsyncGenerator[T]:
    """The same events, until they end or nobody is left to see them; then they are closed.

    Gradio notices a closed tab or a vanished client only when there is something to tell it. A job that waits has
    nothing to tell for a long time, so this looks by itself.
    """
    visit = current_visit()
    async with aclosing(events):
        upcoming = asyncio.ensure_future(anext(events))
        try:
            while visit is None or visit.alive:
                await asyncio.wait({upcoming}, timeout=LOOK_AGAIN)
                if upcoming.done():
                    yield upcoming.result()
                    upcoming = asyncio.ensure_future(anext(events))
        except StopAsyncIteration:
            return
        finally:
            upcoming.cancel()
            await asyncio.wait({upcoming})


def current_visit() -> Visit | None:
    """The event in Gradio's queue that the calling handler serves. Gradio has no public way to ask for it."""
    blocks, event_id = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    if blocks is None:
        return None
    active = blocks._queue.active_jobs  # noqa: SLF001
    return next((visit for visits in active for visit in visits or [] if visit._id == event_id), None)  # noqa: SLF001
