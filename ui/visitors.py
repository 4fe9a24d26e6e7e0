"""Who is asking, and whether they are still there."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TypeVar

import gradio as gr
from gradio.context import LocalContext
from gradio.queueing import Event as Visit

from imagegen.schema import User
from imagegen.watching import while_there

T = TypeVar("T")


def user_of(http: gr.Request) -> User:
    """Whom the gate let in."""
    assert http.request is not None
    user: User = http.request.state.user
    return user


def while_watched(events: AsyncGenerator[T]) -> AsyncGenerator[T]:
    """The same events, while the tab or the program that asked for them is there."""
    visit = current_visit()

    async def is_there() -> bool:
        return visit is None or visit.alive

    return while_there(events, is_there)


def current_visit() -> Visit | None:
    """The event in Gradio's queue that the calling handler serves. Gradio has no public way to ask for it."""
    blocks, event_id = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    if blocks is None:
        return None
    active = blocks._queue.active_jobs  # noqa: SLF001
    return next((visit for visits in active for visit in visits or [] if visit._id == event_id), None)  # noqa: SLF001
