"""Clients that send no request, or send one slowly, are disconnected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from imagegen.api.http_protocol import MAX_WAITING_PER_ADDRESS, create_http_protocol
from tests.unit.wait import wait_until_true

TIMEOUT = 0.3
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a request without reading its body; keeps a WebSocket open."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.sleep(2 * TIMEOUT)
        await send({"type": "websocket.send", "text": "still here"})
    elif scope["type"] == "http":
        if scope["path"] == "/slow":
            await asyncio.sleep(2 * TIMEOUT)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    http: Any = create_http_protocol(TIMEOUT)
    server = uvicorn.Server(uvicorn.Config(answer, port=0, http=http, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    await wait_until_true(lambda: server.started)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await asyncio.wait_for(reader.read(), 10 * TIMEOUT)
    except ConnectionResetError:
        return b""


async def test_a_connection_without_a_request_is_closed(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await read_to_end(reader) == b""
    writer.close()


async def test_headers_that_do_not_end_are_refused(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
    assert (await read_to_end(reader)).startswith(b"HTTP/1.1 408 ")
    writer.close()


@pytest.mark.parametrize(
    "start", [b"GET / HTTP/1.1\r\nHost: x\r\nX: ", REQUEST + b"GET / HTTP/1.1\r\nX: ",
              b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n"]
)  # fmt: skip
async def test_dripping_does_not_keep_a_connection_open(port: int, start: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(start)
    end = asyncio.create_task(read_to_end(reader))
    while not end.done():
        writer.write(b"x")
        await asyncio.wait([end], timeout=TIMEOUT / 10)
    await end
    writer.close()


async def test_a_slow_answer_and_later_requests_are_not_cut(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for path in (b"/slow", b"/", b"/slow"):
        writer.write(REQUEST.replace(b"/ ", path + b" ", 1))
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_a_websocket_stays_open(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    assert b"still here" in await asyncio.wait_for(reader.readuntil(b"still here"), 10 * TIMEOUT)
    writer.close()


async def test_many_connections_that_open_at_once_are_all_answered(port: int) -> None:
    """As of a proxy with many users."""
    opened = await asyncio.gather(
        *(asyncio.open_connection("127.0.0.1", port) for _ in range(2 * MAX_WAITING_PER_ADDRESS))
    )
    for _, writer in opened:
        writer.write(REQUEST)
    assert all([b"200" in await reader.readline() for reader, _ in opened])
    for _, writer in opened:
        writer.close()


async def test_idle_connections_of_one_address_lock_out_nobody(port: int) -> None:
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_WAITING_PER_ADDRESS + 5)]
    assert [await read_to_end(reader) for reader, _ in opened[:5]] == [b""] * 5
    reader, writer = opened[-1]
    writer.write(REQUEST)
    assert b"200" in await reader.readline()
    for _, each in opened:
        each.close()
