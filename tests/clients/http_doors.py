"""Sends the requests of the table to each HTTP API of an in-process studio."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import httpx
from PIL import Image
from starlette.types import Message

from imagegen.schema.events import Result
from tests.clients.cases import MODEL_OF_OPENAI, PROMPT, Fields, Outcome, Refused, find_field, read_receipt
from tests.doubles import make_receipt
from tests.unit.in_process_studio import InProcessStudio
from tests.unit.wait import wait_until_true

T = TypeVar("T")
A1111_NAMES = {"sampler": "sampler_name"}
HUGGING_FACE_NAMES = {"sampler": "scheduler"}
Ask = Callable[[InProcessStudio, Fields], Coroutine[Any, Any, Outcome]]


async def ask_rest(studio: InProcessStudio, fields: Fields) -> Outcome:
    answer = await post(studio, "/v1/txt2img", {"prompt": PROMPT} | fields)
    if answer.is_error:
        error = answer.json()["error"]
        return Refused(error["code"], error.get("field"), answer.status_code)
    return read_receipt(answer.json()["receipt"])


async def ask_websocket(studio: InProcessStudio, fields: Fields) -> Outcome:
    message = await finish_job_of(studio, exchange_messages(studio, {"prompt": PROMPT} | fields))
    if message["type"] == "error":
        return Refused(message["code"], message["field"])
    return read_receipt(message["data"]["receipt"])


async def ask_openai(studio: InProcessStudio, fields: Fields) -> Outcome:
    body = {name: value for name, value in fields.items() if name not in ("width", "height")}
    if "width" in fields:
        body["size"] = f"{fields['width']}x{fields['height']}"
    answer = await post(studio, "/v1/images/generations", {"prompt": PROMPT} | body)
    if answer.is_error:
        error = answer.json()["error"]
        return Refused(error["code"], error["param"], answer.status_code)
    requested = answer.json().get("requested") or {}
    return read_receipt(answer.json()["receipts"][0], requested_size=requested.get("size"))


async def ask_openai_with_alias(studio: InProcessStudio, fields: Fields) -> Outcome:
    return await ask_openai(studio, {"model": MODEL_OF_OPENAI} | fields)


async def ask_automatic1111(studio: InProcessStudio, fields: Fields) -> Outcome:
    body = {A1111_NAMES.get(name, name): value for name, value in fields.items()}
    if "model" in body:
        body["override_settings"] = {"sd_model_checkpoint": body.pop("model")}
    answer = await post(studio, "/sdapi/v1/txt2img", {"prompt": PROMPT} | body)
    if answer.is_error:
        return Refused(answer.json()["error"], find_field(answer.json()["detail"]), answer.status_code)
    info = json.loads(answer.json()["info"])
    return read_receipt(info["receipts"][0], tuple(info["ignored"]))


async def ask_hugging_face(studio: InProcessStudio, fields: Fields) -> Outcome:
    parameters = {HUGGING_FACE_NAMES.get(name, name): value for name, value in fields.items()}
    path = f"/hf/models/{parameters.pop('model')}" if "model" in parameters else "/hf"
    answer = await post(studio, path, {"inputs": PROMPT, "parameters": parameters})
    if answer.is_error:
        return Refused(answer.json()["code"], find_field(answer.json()["error"]), answer.status_code)
    job = await studio.client_without_token.get(f"/v1/jobs/{answer.headers['X-Job-Id']}")
    return read_receipt(job.json()["result"]["receipt"])


HTTP_DOORS: dict[str, Ask] = {
    "REST": ask_rest,
    "WebSocket": ask_websocket,
    "OpenAI": ask_openai,
    f"OpenAI, `{MODEL_OF_OPENAI}`": ask_openai_with_alias,
    "AUTOMATIC1111": ask_automatic1111,
    "Hugging Face": ask_hugging_face,
}


async def post(studio: InProcessStudio, path: str, body: Fields) -> httpx.Response:
    return await finish_job_of(studio, studio.client_without_token.post(path, json=body))


async def finish_job_of(studio: InProcessStudio, request: Awaitable[T]) -> T:
    """Waits for the answer, and finishes the job that the request started, if it started one."""
    already_submitted = len(studio.worker.submitted)
    pending = asyncio.ensure_future(request)
    await wait_until_true(lambda: pending.done() or len(studio.worker.submitted) > already_submitted)
    if not pending.done():
        order = studio.worker.submitted[-1]
        fields = order.request.model_dump(include={"seed", "width", "height"})
        receipt = make_receipt(**fields, requested=order.requested)
        picture = studio.service.images.write_picture(Image.new("RGB", (16, 16), "grey"), receipt)
        studio.worker.emit_event(order.job_id, Result(pictures=(picture,), latency_ms=1200))
    return await asyncio.wait_for(pending, 10)


async def exchange_messages(studio: InProcessStudio, request: Fields) -> Fields:
    """Sends one request through a WebSocket, and returns the result or the error."""
    answers: asyncio.Queue[Fields] = asyncio.Queue()
    sent: list[Message] = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": json.dumps(request)}]

    async def receive() -> Message:
        if not sent:
            await asyncio.Event().wait()
        return sent.pop(0)

    async def send(message: Message) -> None:
        if message["type"] == "websocket.send":
            await answers.put(json.loads(message["text"]))

    scope: dict[str, Any] = {
        "type": "websocket", "path": "/v1/ws", "raw_path": b"/v1/ws", "query_string": b"", "root_path": "",
        "headers": [(b"host", b"127.0.0.1")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        "scheme": "ws", "subprotocols": [], "http_version": "1.1", "asgi": {"version": "3.0"},
    }  # fmt: skip
    connection = asyncio.ensure_future(studio.app(scope, receive, send))
    try:
        while (answer := await answers.get())["type"] not in ("result", "error"):
            pass
        return answer
    finally:
        connection.cancel()
        await asyncio.wait([connection])
