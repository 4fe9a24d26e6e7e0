"""Large, deep and slow request bodies are refused before they cost anything, and invalid requests are counted."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from starlette.types import Message

from imagegen.api.json_limits import MAX_JSON_DEPTH, MAX_JSON_VALUES, check_json_structure
from imagegen.api.middleware.request_body import MIN_BYTES_PER_SECOND, limit_body_time, read_whole_body
from imagegen.errors import InvalidRequest, RequestTimeout
from imagegen.schema.pictures import MAX_IDS
from tests.unit.clock import Clock
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio

JSON_TYPE = {"content-type": "application/json"}
# In each door, one route whose requests may have pictures, so that large bodies are allowed.
PICTURE_ROUTES = ["/v1/jobs", "/v1/img2img", "/sdapi/v1/txt2img", "/gradio_api/queue/join", "/gradio_api/mcp/"]


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[InProcessStudio]:
    async with run_in_process_studio(tmp_path, requests_per_minute=20) as studio:
        yield studio


async def measure_longest_pause(requests: list[Any]) -> float:
    """Returns the longest time, in seconds, in which the event loop ran nothing else."""
    longest, task = 0.0, asyncio.gather(*requests)
    while not task.done():
        begin = time.perf_counter()
        await asyncio.sleep(0)
        longest = max(longest, time.perf_counter() - begin)
    return longest


@pytest.mark.parametrize("path", PICTURE_ROUTES)
@pytest.mark.parametrize("start", [b'{"loras": [', b'{"prompt": "a", "data": [{"x": [', b"["])
async def test_many_values_are_refused_at_once(studio: InProcessStudio, path: str, start: bytes) -> None:
    body = start + b"1," * 3 * 2**20
    request = studio.client_without_token.post(path, content=body, headers=JSON_TYPE)
    assert await measure_longest_pause([request]) < 1
    response = await studio.client_without_token.post(path, content=body, headers=JSON_TYPE)
    assert response.status_code == 400
    assert f"body: must have at most {MAX_JSON_VALUES} values" in response.text


async def test_many_unknown_fields_are_refused(studio: InProcessStudio) -> None:
    body = {f"field{number}": None for number in range(MAX_JSON_VALUES + 1)}
    response = await studio.client_without_token.post("/v1/jobs", json=body)
    assert (response.status_code, response.json()["error"]["field"]) == (400, "body")


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/tokens", "/v1/controlnets/load", "/v1/models/load", "/v1/loras/unload", "/v1/ip_adapters/load"),
        *("/v1/detectors/load", "/v1/pictures/zip", "/sdapi/v1/options"),
    ],
)
async def test_a_request_without_pictures_may_not_be_large(studio: InProcessStudio, path: str) -> None:
    response = await studio.client_without_token.post(path, json={"prompt": "a" * 70_000})
    assert response.status_code == 413
    assert "The limit is 65.5 kB" in response.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/tokens", {"prompt": "\U0001f3a8" * 4000}),
        ("/v1/pictures/zip", {"ids": [f"{number:032x}" for number in range(MAX_IDS)]}),
    ],
)
async def test_the_longest_request_without_pictures_is_accepted(
    studio: InProcessStudio, path: str, body: dict[str, object]
) -> None:
    response = await studio.client_without_token.post(path, json=body)
    assert response.status_code in (200, 404), "not too large: the pictures are unknown"


async def test_the_longest_prompts_are_accepted(studio: InProcessStudio) -> None:
    body = {"prompt": "\U0001f3a8" * 4000, "negative_prompt": "é" * 4000, "more_prompts": ["\U0001f3a8" * 4000] * 7}
    assert len(json.dumps(body)) > 400_000
    response = await studio.client_without_token.post("/v1/txt2img", json={**body, "steps": 0})
    assert response.json()["error"]["field"] == "steps"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"a":' * (MAX_JSON_DEPTH + 1), "levels of lists and objects"),
        (b"[" * MAX_JSON_VALUES, "levels of lists and objects"),
        (b'{"a":1,' + b'"b":"c",' * MAX_JSON_VALUES, "values"),
        (b'"' * 10 * MAX_JSON_VALUES, "values"),
        ('{"a": [1,1]}'.encode("utf-16"), "valid JSON"),
    ],
)
def test_the_structure_of_json_is_limited(body: bytes, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        check_json_structure(body)


@pytest.mark.parametrize(
    "text",
    ["[],{}" * MAX_JSON_VALUES, '\\"[,' * MAX_JSON_VALUES, "\\\\" * MAX_JSON_VALUES, "\\" * 7 + '"' + "[" * 9999],
)
def test_what_is_inside_of_a_string_does_not_count(text: str) -> None:
    check_json_structure(json.dumps({"prompt": text, "more": [text] * MAX_JSON_DEPTH}).encode())


async def test_invalid_requests_count_like_valid_ones(studio: InProcessStudio) -> None:
    statuses = [
        (await studio.client_without_token.post("/v1/txt2img", json={"prompt": "a", "steps": 0})).status_code
        for _ in range(22)
    ]
    assert statuses[:20] == [400] * 20
    assert statuses[-1] == 429
    refused = await studio.client_without_token.post("/v1/jobs", json={"prompt": "a"})
    assert refused.status_code == 429


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/jobs", {"prompt": "a", "loras": [{"lora": "nothing"}]}),
        ("/v1/images/generations", {"prompt": "a", "size": "7x7"}),
        ("/sdapi/v1/txt2img", {"steps": 0}),
        ("/v1/nothing", {}),
        ("/gradio_api/queue/join", []),
    ],
)
async def test_invalid_requests_are_counted_once_in_each_door(
    studio: InProcessStudio, path: str, body: dict[str, Any]
) -> None:
    client = studio.client_without_token
    statuses = [(await client.post(path, json=body)).status_code for _ in range(20)]
    assert all(400 <= status < 429 for status in statuses)
    refused = await client.post(path, json=body)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1


def test_invalid_messages_of_a_socket_are_counted(tmp_path: Path) -> None:
    async def run() -> None:
        async with run_in_process_studio(tmp_path, requests_per_minute=3) as studio:
            await asyncio.to_thread(send_invalid_messages, studio)

    asyncio.run(run())


def send_invalid_messages(studio: InProcessStudio) -> None:
    with TestClient(studio.app, base_url="http://127.0.0.1").websocket_connect("/v1/ws") as socket:
        codes = []
        for text in ["[" * 100_000, '{"steps": 0}', '{"loras": [' + "1," * 10**6, '{"prompt": ""}']:
            socket.send_text(text)
            codes.append(socket.receive_json()["code"])
    assert codes == ["invalid_request"] * 3 + ["too_many_requests"]


async def test_a_slow_body_is_refused(tmp_path: Path) -> None:
    async def send_slowly() -> AsyncIterator[bytes]:
        yield b'{"prompt": '
        await asyncio.Event().wait()

    async with run_in_process_studio(tmp_path, request_timeout=0.05) as studio:
        response = await asyncio.wait_for(ask(studio, send_slowly()), 5)
    assert (response.status_code, response.json()["error"]["code"]) == (408, "request_timeout")


async def ask(studio: InProcessStudio, content: Any) -> httpx.Response:
    """Sends a request whose body never ends; httpx's own transport would wait for its end."""
    answer: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": await anext(content), "more_body": True}

    async def send(message: Message) -> None:
        answer.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/txt2img", "query_string": b"", "headers": headers,
             "client": ("127.0.0.1", 1), "http_version": "1.1", "scheme": "http", "server": None}  # fmt: skip
    await studio.app(scope, receive, send)
    return httpx.Response(answer[0]["status"], content=b"".join(part.get("body", b"") for part in answer[1:]))


async def test_a_large_body_has_more_time() -> None:
    clock = Clock()

    async def receive(size: int) -> Message:
        await asyncio.sleep(0)
        clock.seconds += 20
        return {"type": "http.request", "body": b"x" * size, "more_body": True}

    large = limit_body_time(lambda: receive(20 * MIN_BYTES_PER_SECOND), 30, clock)
    for _ in range(4):
        assert len((await large())["body"]) == 20 * MIN_BYTES_PER_SECOND
    small = limit_body_time(lambda: receive(1), 30, clock)
    for _ in range(2):
        await small()
    with pytest.raises(RequestTimeout):
        await small()


async def test_a_body_that_drips_has_no_more_time() -> None:
    async def receive() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    with pytest.raises(RequestTimeout):
        await read_whole_body(limit_body_time(receive, 0.05))
