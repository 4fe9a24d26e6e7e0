"""One call through each API, until the client has the picture."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from anyio.from_thread import start_blocking_portal
from gradio_client import Client
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from websockets.sync.client import connect

from bench.http_client import HttpClient
from imagegen.schema.request import list_task_fields

PNG = b"\x89PNG"
REQUEST: dict[str, Any] = {"prompt": "a red circle", "width": 64, "height": 64, "steps": 20, "seed": 7}
# Positional parameters of the Gradio endpoint, as its HTTP API takes them.
ORDERED: list[Any] = [REQUEST.get(name) for name in list_task_fields("text_to_image")]


def health(web: HttpClient) -> None:
    """Calls the route that only reports that the server runs."""
    web.get("/healthz")


def rest(web: HttpClient) -> None:
    """Generates a picture with the blocking REST route."""
    check(base64.b64decode(web.post("/v1/txt2img", REQUEST)["image_b64"]))


def job_and_events(web: HttpClient) -> None:
    """Creates a job with REST, reads its events until the last, and downloads the picture."""
    job = web.post("/v1/jobs", REQUEST)["id"]
    events = web.get(f"/v1/jobs/{job}/events").decode()
    assert events.count("event: progress") == REQUEST["steps"]
    last = events.strip().split("\n\n")[-1].split("data: ")[1].split("\n")[0]
    check(web.get(json.loads(last)["data"]["url"]))


def openai_images(web: HttpClient) -> None:
    """Generates a picture with OpenAI's images API."""
    body = {"prompt": "a red circle", "size": "64x64", "steps": 20, "seed": 7}
    check(base64.b64decode(web.post("/v1/images/generations", body)["data"][0]["b64_json"]))


def automatic1111(web: HttpClient) -> None:
    """Generates a picture with AUTOMATIC1111's API."""
    check(base64.b64decode(web.post("/sdapi/v1/txt2img", REQUEST)["images"][0]))


def gradio_raw(web: HttpClient) -> None:
    """Generates a picture with Gradio's HTTP API, without its client."""
    call = "/gradio_api/call/txt2img"
    event = web.post(call, {"data": ORDERED})["event_id"]
    last = web.get(f"{call}/{event}").decode().strip().split("\n\n")[-1]
    assert last.startswith("event: complete"), last
    check(web.get(urlsplit(json.loads(last.split("data: ")[1])[0]["url"]).path))


@contextmanager
def websocket(port: int) -> Iterator[Callable[[], None]]:
    """Yields a function that generates a picture over an open WebSocket."""
    with connect(f"ws://127.0.0.1:{port}/v1/ws", max_size=None) as socket:

        def call() -> None:
            socket.send(json.dumps(REQUEST))
            while (message := json.loads(socket.recv()))["type"] != "result":
                assert message["type"] != "error", message
            check(base64.b64decode(message["data"]["image_b64"]))

        yield call


def gradio_client(port: int) -> Callable[[], None]:
    """Returns a function that generates a picture with gradio_client."""
    client = Client(f"http://127.0.0.1:{port}", verbose=False)

    def call() -> None:
        file, _ = client.predict(**REQUEST, api_name="/txt2img")
        check(Path(file).read_bytes())

    return call


@contextmanager
def mcp_tool(port: int) -> Iterator[Callable[[], None]]:
    """Yields a function that generates a picture with the MCP tool."""
    address = f"http://127.0.0.1:{port}/gradio_api/mcp/"
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(streamable_http_client(address)) as (read, write, _),
        portal.wrap_async_context_manager(ClientSession(read, write)) as session,
    ):
        portal.call(session.initialize)

        def call() -> None:
            answer = portal.call(session.call_tool, "txt2img", REQUEST)
            (picture,) = [content for content in answer.content if content.type == "image"]
            check(base64.b64decode(picture.data))

        yield call


def check(picture: bytes) -> None:
    assert picture.startswith(PNG)
