"""Events that are followed for as long as somebody is there."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.types import Message

from imagegen.api.streams import EventStream
from imagegen.watching import while_there

ended: list[str] = []


async def one_then_silence() -> AsyncGenerator[bytes]:
    try:
        yield b"data: 1\n\n"
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        ended.append("events")


@pytest.fixture(autouse=True)
def nothing_ended() -> None:
    ended.clear()


async def serve(stream: EventStream, leaves_after: float) -> list[Message]:
    """As uvicorn does: it tells that the client left, and Starlette then cancels."""
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
    sent = await serve(EventStream(one_then_silence()), 0.05)
    assert sent[1]["body"] == b"data: 1\n\n" and ended == ["events"]


async def test_a_client_who_left_before_the_first_event_is_noticed_too() -> None:
    async def finish() -> None:
        await asyncio.sleep(0)
        ended.append("job")

    await serve(EventStream(one_then_silence(), finish), 0)
    assert ended[-1] == "job"


async def test_events_end_when_nobody_is_there_to_see_them() -> None:
    there = [True, True, False]

    async def is_there() -> bool:
        return there.pop(0)

    assert [event async for event in while_there(one_then_silence(), is_there)] == [b"data: 1\n\n"]
    assert ended == ["events"]
