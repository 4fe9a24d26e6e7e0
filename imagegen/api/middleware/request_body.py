"""Reads request bodies, and limits their size and their time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.types import Message, Receive

from imagegen.errors import PayloadTooLarge, RequestTimeout

# A picture of 20 MB in base64, and the other fields of a request.
MAX_BODY_BYTES = 28 * 2**20
# Requests with these methods have no body that a route reads.
METHODS_WITHOUT_BODY = ("GET", "HEAD", "OPTIONS")
# How a JSON object or list begins.
JSON_STARTS = (b"{", b"[")
# A slower body is refused, after the time that every body has.
MIN_BYTES_PER_SECOND = 16 * 1024


def limit_body(receive: Receive, max_bytes: int) -> Receive:
    """Returns a `receive` that raises PayloadTooLarge when more bytes arrive, whatever Content-Length said."""
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > max_bytes:
            raise PayloadTooLarge(max_bytes)
        return message

    return receive_limited


def limit_body_time(receive: Receive, timeout: float, clock: Callable[[], float] = time.monotonic) -> Receive:
    """Returns a `receive` that raises RequestTimeout when the body arrives too slowly.

    It may take `timeout` seconds of `clock`, and one more for each MIN_BYTES_PER_SECOND that have arrived.
    """
    deadline = clock() + timeout
    is_complete = False

    async def receive_in_time() -> Message:
        nonlocal deadline, is_complete
        if is_complete:
            return await receive()
        try:
            async with asyncio.timeout(deadline - clock()):
                message = await receive()
        except TimeoutError:
            raise RequestTimeout from None
        deadline += len(message.get("body", b"")) / MIN_BYTES_PER_SECOND
        is_complete = not message.get("more_body", False)
        return message

    return receive_in_time


async def read_whole_body(receive: Receive) -> bytes | None:
    """Returns the whole body, and None if the client disconnects before its end."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def read_body(receive: Receive) -> bytes:
    """Returns the whole body, and b"" if the client disconnects before its end."""
    return await read_whole_body(receive) or b""


def replay_body(body: bytes, receive: Receive) -> Receive:
    """Returns a `receive` that delivers a body that was read already, and then continues with `receive`."""
    return replay_message({"type": "http.request", "body": body, "more_body": False}, receive)


def replay_message(message: Message, receive: Receive) -> Receive:
    """Returns a `receive` that delivers a message that was received already, and then continues with `receive`."""
    messages = [message]

    async def receive_replayed() -> Message:
        return messages.pop() if messages else await receive()

    return receive_replayed


def parse_content_length(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0
