"""MCP with its own client, over both transports: jobs are cancelled, followed, and made from one another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

import httpx
import pytest
from mcp import ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import McpError
from mcp.types import (
    CallToolResult,
    CancelledNotification,
    CancelledNotificationParams,
    ClientNotification,
    ImageContent,
    TextContent,
)

from tests.acceptance.conftest import Studio, run_coroutine
from tests.acceptance.test_readme import ADDRESS, examples

Connect = Callable[[Studio], AbstractAsyncContextManager[ClientSession]]
LONG = {"prompt": "a red circle", "steps": 150, "batch_size": 2}
SHORT = {"prompt": "a red circle", "steps": 3, "seed": 3}


@asynccontextmanager
async def connect_by_http(studio: Studio) -> AsyncIterator[ClientSession]:
    async with (
        streamable_http_client(f"{studio.url}/gradio_api/mcp/") as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        yield session


@asynccontextmanager
async def connect_by_sse(studio: Studio) -> AsyncIterator[ClientSession]:
    async with sse_client(f"{studio.url}/gradio_api/mcp/sse") as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        yield session


both_transports = pytest.mark.parametrize("connect", [connect_by_http, connect_by_sse], ids=lambda each: each.__name__)


def read_texts(result: CallToolResult) -> list[str]:
    return [content.text for content in result.content if isinstance(content, TextContent)]


async def list_jobs(session: ClientSession) -> list[str]:
    return [json.loads(text)["id"] for text in read_texts(await session.call_tool("list_jobs", {}))]


async def start_job(session: ClientSession, watcher: ClientSession) -> tuple[asyncio.Task[CallToolResult], str]:
    """Calls a tool that takes long, and returns the call and the id of its job once that runs."""
    before = await list_jobs(watcher)
    begun = asyncio.Event()

    async def note(progress: float, total: float | None, message: str | None) -> None:
        if message is not None and message.startswith("Step"):
            begun.set()

    call = asyncio.create_task(session.call_tool("txt2img", LONG, progress_callback=note))
    async with asyncio.timeout(60):
        await begun.wait()
    (job,) = set(await list_jobs(watcher)) - set(before)
    return call, job


async def wait_for_state(studio: Studio, job: str, state: str) -> None:
    """Raises AssertionError if the job is not in the state after a while."""
    found = ""
    async with httpx.AsyncClient(timeout=30) as web:
        for _ in range(200):
            found = (await web.get(f"{studio.url}/v1/jobs/{job}")).json()["state"]
            if found == state:
                return
            await asyncio.sleep(0.1)
    raise AssertionError(f"the job is {found}")


async def cancel(session: ClientSession, request_id: int) -> None:
    notification = CancelledNotification(params=CancelledNotificationParams(requestId=request_id))
    await session.send_notification(ClientNotification(notification))


async def cancel_and_leave(studio: Studio, connect: Connect) -> None:
    async with connect(studio) as staying:
        kept_call, kept = await start_job(staying, staying)
        async with connect(studio) as leaving:
            # The client numbers its requests: initialize is 0, and this is its first call.
            cancelled_call, cancelled = await start_job(leaving, staying)
            await cancel(leaving, 1)
            await wait_for_state(studio, cancelled, "cancelled")
            with pytest.raises(McpError) if connect is connect_by_sse else nullcontext():
                assert read_texts(await cancelled_call)[0].startswith("cancelled: ")
            left_call, left = await start_job(leaving, staying)
            left_call.cancel()
        await wait_for_state(studio, left, "cancelled")
        await wait_for_state(studio, kept, "running")
        await staying.call_tool("cancel_job", {"job_id": kept})
        assert read_texts(await kept_call)[0].startswith("cancelled: ")


@both_transports
def test_cancelling_a_call_or_leaving_cancels_the_job_and_no_other(studio: Studio, connect: Connect) -> None:
    run_coroutine(cancel_and_leave(studio, connect))


@both_transports
def test_progress_is_followed_to_the_picture_and_the_next_picture_begins_with_its_address(
    studio: Studio, connect: Connect
) -> None:
    reports: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        reports.append((progress, total, message))

    async def paint() -> list[CallToolResult]:
        async with connect(studio) as session:
            made = await session.call_tool("txt2img", SHORT, progress_callback=note)
            url = read_texts(made)[0].removeprefix("Image URL: ")
            assert url.startswith(f"{studio.url}/v1/images/")
            starts = (url, url.rpartition("/")[2])
            return [await session.call_tool("img2img", SHORT | {"init_image": start}) for start in starts]

    results = run_coroutine(paint())
    assert [message for _, _, message in reports][-3:] == [f"Step {step} of 3" for step in (1, 2, 3)]
    values = [progress for progress, _, _ in reports]
    assert values == sorted(set(values)) and {total for _, total, _ in reports} == {100}
    pictures = [content.data for result in results for content in result.content if isinstance(content, ImageContent)]
    assert len(pictures) == 2 and pictures[0] == pictures[1]


def test_the_configuration_in_the_readme_is_that_of_the_studio(studio: Studio) -> None:
    (example,) = examples("json", "mcpServers")
    server = json.loads(example)["mcpServers"]["studio"]
    url = server["url"].replace(ADDRESS, studio.url.removeprefix("http://"))

    async def list_tools() -> list[str]:
        async with (
            httpx.AsyncClient(headers=server["headers"], timeout=60) as web,
            streamable_http_client(url, http_client=web) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return [tool.name for tool in (await session.list_tools()).tools]

    assert {"txt2img", "img2img", "list_models", "get_job"} <= set(run_coroutine(list_tools()))
