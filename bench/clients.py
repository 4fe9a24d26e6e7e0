"""One call at each door, until the picture is there."""

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

from bench.http import Web
from imagegen.schema import TextToImage

PNG = b"\x89PNG"
REQUEST: dict[str, Any] = {"prompt": "a red circle", "width": 64, "height": 64, "steps": 20, "seed": 7}
# In the order of the endpoint's parameters, as Gradio takes them over HTTP.
ORDERED: list[Any] = [REQUEST.get(name) for name in TextToImage.model_fields]


def health(web: Web) -> None:
    web.get("/healthz")


def rest(web: Web) -> None:
    check(base64.b64decode(web.post("/v1/txt2img", REQUEST)["image_b64"]))


def job_and_events(web: Web) -> None:
    job = web.post("/v1/jobs", REQUEST)["id"]
    events = web.get(f"/v1/jobs/{job}/events").decode()
    assert events.count("event: progress") == REQUEST["steps"]
    last = events.strip().split("\n\n")[-1].split("data: ")[1].split("\n")[0]
    check(web.get(json.loads(last)["data"]["url"]))


def openai_images(web: Web) -> None:
    asked = {"prompt": "a red circle", "size": "64x64", "steps": 20, "seed": 7}
    check(base64.b64decode(web.post("/v1/images/generations", asked)["data"][0]["b64_json"]))


def automatic1111(web: Web) -> None:
    check(base64.b64decode(web.post("/sdapi/v1/txt2img", REQUEST)["images"][0]))


def gradio_raw(web: Web) -> None:
    call = "/gradio_api/call/txt2img"
    event = web.post(call, {"data": ORDERED})["event_id"]
    last = web.get(f"{call}/{event}").decode().strip().split("\n\n")[-1]
    assert last.startswith("event: complete"), last
    check(web.get(urlsplit(json.loads(last.split("data: ")[1])[0]["url"]).path))


@contextmanager
def websocket(port: int) -> Iterator[Callable[[], None]]:
    with connect(f"ws://127.0.0.1:{port}/v1/ws", max_size=None) as socket:

        def call() -> None:
            socket.send(json.dumps(REQUEST))
            while (message := json.loads(socket.recv()))["type"] != "result":
                assert message["type"] != "error", message
            check(base64.b64decode(message["data"]["image_b64"]))

        yield call


def gradio_client(port: int) -> Callable[[], None]:
    client = Client(f"http://127.0.0.1:{port}", verbose=False)

    def call() -> None:
        file, _ = client.predict(**REQUEST, api_name="/txt2img")
        check(Path(file).read_bytes())

    return call


@contextmanager
def mcp_tool(port: int) -> Iterator[Callable[[], None]]:
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
