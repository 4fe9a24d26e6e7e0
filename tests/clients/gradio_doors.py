"""Sends the requests of the table to the Gradio endpoint and the MCP tool of a running studio."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent

from tests.clients.cases import PROMPT, Fields, Outcome, Refused, find_field, read_receipt

Ask = Callable[[str, Fields], Coroutine[Any, Any, Outcome]]
# The pictures are really made.
COMMON: Fields = {"prompt": PROMPT, "steps": 1}


async def ask_gradio(url: str, fields: Fields) -> Outcome:
    """With plain HTTP and the parameters by name; Gradio's own clients refuse unknown ones themselves."""
    async with httpx.AsyncClient(base_url=f"{url}/gradio_api/call", timeout=60) as client:
        started = await client.post("/v2/txt2img", json=COMMON | fields)
        if started.is_error:
            answer = started.json()
            return Refused(answer["code"], find_field(answer["detail"]), started.status_code)
        events = (await client.get(f"/txt2img/{started.json()['event_id']}")).text
    kind, data = events.strip().split("\n\n")[-1].split("\n")
    content = json.loads(data.removeprefix("data: "))
    if kind == "event: error":
        return Refused(content["title"], find_field(content["error"]))
    return read_receipt(content[1])


async def ask_mcp(url: str, fields: Fields) -> Outcome:
    async with (
        streamable_http_client(f"{url}/gradio_api/mcp/") as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        answer = await session.call_tool("txt2img", COMMON | fields)
    texts = [content.text for content in answer.content if isinstance(content, TextContent)]
    if answer.isError:
        code, _, message = texts[0].partition(": ")
        field = find_field(message)
        return Refused("error", find_field(texts[0])) if field is None else Refused(code, field)
    return read_receipt(json.loads(texts[-1]))


GRADIO_DOORS: dict[str, Ask] = {"Gradio": ask_gradio, "MCP": ask_mcp}
