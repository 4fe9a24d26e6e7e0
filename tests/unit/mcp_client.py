"""A client of MCP that sends single messages to a studio in the same process."""

from __future__ import annotations

import asyncio
import json
from itertools import count
from typing import Any

import httpx

from tests.unit.in_process_studio import InProcessStudio
from tests.unit.wait import let_tasks_settle

ENDPOINT = "/gradio_api/mcp/"
HEADERS = {"accept": "application/json, text/event-stream"}
PROMPT = {"prompt": "a red circle"}


class McpClient:
    """Sends messages. With a `session` it names that in each of them."""

    def __init__(self, studio: InProcessStudio, session: str | None = None, token: str | None = None) -> None:
        self.studio, self.web = studio, studio.make_client(token)
        self.request_ids = count(1000)
        self.headers = HEADERS | ({"mcp-session-id": session} if session else {})

    async def post(self, message: dict[str, Any], query: str = "") -> httpx.Response:
        return await self.web.post(ENDPOINT + query, json={"jsonrpc": "2.0", **message}, headers=self.headers)

    async def request(self, method: str, query: str = "", **params: Any) -> list[dict[str, Any]]:
        """Returns the messages of the answer."""
        answer = await self.post({"id": next(self.request_ids), "method": method, "params": params}, query)
        assert answer.status_code == 200, answer.text
        return [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data")]

    async def list_tools(self, query: str = "") -> list[dict[str, Any]]:
        tools: list[dict[str, Any]] = (await self.request("tools/list", query))[-1]["result"]["tools"]
        return tools

    async def call(self, tool: str, arguments: dict[str, Any] | None = None) -> tuple[bool, list[str]]:
        """Returns whether the tool failed, and the texts of its result."""
        (answer,) = await self.request("tools/call", name=tool, arguments=arguments or {})
        result = answer["result"]
        return result["isError"], [content["text"] for content in result["content"] if content["type"] == "text"]

    async def refuse(self, tool: str, arguments: dict[str, Any] | None = None) -> str:
        is_error, texts = await self.call(tool, arguments)
        assert is_error
        return texts[0]

    async def start_call(self, request_id: int | str = 1, **arguments: Any) -> asyncio.Task[httpx.Response]:
        """Starts a job, and returns when it is stored, and the worker has one."""
        before = len(await self.list_jobs())
        params = {"name": "txt2img", "arguments": PROMPT | arguments}
        task = asyncio.create_task(self.post({"id": request_id, "method": "tools/call", "params": params}))
        while len(await self.list_jobs()) == before or not self.studio.worker.submitted:
            await let_tasks_settle()
        return task

    async def list_jobs(self) -> list[str]:
        """Returns the ids of the user's jobs that run or wait, the oldest first."""
        return [json.loads(text)["id"] for text in (await self.call("list_jobs"))[1]]

    async def cancel(self, request_id: int | str) -> None:
        params = {"requestId": request_id, "reason": "the user changed their mind"}
        assert (await self.post({"method": "notifications/cancelled", "params": params})).status_code == 202

    async def close_session(self) -> int:
        return (await self.web.delete(ENDPOINT, headers=self.headers)).status_code

    async def wait_for_state(self, job_id: str, state: str) -> None:
        """Raises AssertionError if the job is not in the state after a long time."""
        for _ in range(500):
            if await self.get_state(job_id) == state:
                return
            await let_tasks_settle()
        raise AssertionError(f"the job is {await self.get_state(job_id)}")

    async def get_state(self, job_id: str) -> str:
        state: str = (await self.web.get(f"/v1/jobs/{job_id}")).json()["state"]
        return state
