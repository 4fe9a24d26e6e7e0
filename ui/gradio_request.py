"""The user of a Gradio request, and whether their client is still connected."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import gradio as gr
from gradio.context import LocalContext
from gradio.queueing import Event as QueueEvent

from imagegen.languages.catalogue import Language
from imagegen.languages.requested import LANGUAGE_COOKIE, choose_language
from imagegen.schema.base import User


def get_user(http: gr.Request) -> User:
    """Returns the user that the authentication middleware found."""
    assert http.request is not None
    user: User = http.request.state.user
    return user


def find_language(http: gr.Request) -> Language:
    """Returns the language that the browser of a request asks for."""
    assert http.request is not None
    return choose_language(http.request.cookies.get(LANGUAGE_COOKIE), http.request.headers.get("accept-language", ""))


def build_connection_check() -> Callable[[], Awaitable[bool]]:
    """Returns a function that returns whether the client of the calling handler's event is still connected."""
    queue_event = find_current_event()

    async def is_connected() -> bool:
        return queue_event is None or queue_event.alive

    return is_connected


def find_current_event() -> QueueEvent | None:
    """Returns the event in Gradio's queue that the calling handler serves. Gradio has no public way to get it."""
    blocks, event_id = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    if blocks is None:
        return None
    active = blocks._queue.active_jobs  # noqa: SLF001
    return next((event for events in active for event in events or [] if event._id == event_id), None)  # noqa: SLF001
