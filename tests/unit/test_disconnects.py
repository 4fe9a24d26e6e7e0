"""Event streams end when the client disconnects."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.types import Message

from imagegen.api.server_sent_events import EventStreamResponse
from imagegen.disconnects import until_disconnected

ended_streams: list[str] = []


async def yield_once_and_wait() -> AsyncGenerator[bytes]:
    try:
        yield b"data: 1\n\n"
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        ended_streams.append("events")


@pytest.fixture(autouse=True)
def clear_ended_streams() -> None:
    ended_streams.clear()


async def serve(stream: EventStreamResponse, leaves_after: float) -> list[Message]:
    """Serves a stream as uvicorn does: it reports the disconnect, and Starlette then cancels."""
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(leaves_after)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "http", "asgi": {"spec_version": "2.3"}}
    await stream(scope, receive, send)
    return sent


async def test_a_client_who_leaves_a_stream_ends_it_quietly() -> None:
    sent = await serve(EventStreamResponse(yield_once_and_wait()), 0.05)
    assert sent[1]["body"] == b"data: 1\n\n" and ended_streams == ["events"]


async def test_a_client_who_left_before_the_first_event_is_noticed_too() -> None:
    async def finish() -> None:
        await asyncio.sleep(0)
        ended_streams.append("job")

    await serve(EventStreamResponse(yield_once_and_wait(), finish), 0)
    assert ended_streams[-1] == "job"


async def test_events_end_when_the_client_disconnects() -> None:
    there = [True, True, False]

    async def is_there() -> bool:
        return there.pop(0)

    assert [event async for event in until_disconnected(yield_once_and_wait(), is_there)] == [b"data: 1\n\n"]
    assert ended_streams == ["events"]
