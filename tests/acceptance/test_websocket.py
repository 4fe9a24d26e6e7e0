"""The WebSocket: requests in, events out, and no job continues without its client."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.acceptance.conftest import Studio

LONG = {"prompt": "a red circle", "steps": 150, "batch_size": 8}


@pytest.fixture
def socket(studio: Studio) -> Iterator[ClientConnection]:
    with connect(f"{studio.url.replace('http', 'ws')}/v1/ws", max_size=None) as socket:
        yield socket


def send_message(socket: ClientConnection, **message: Any) -> None:
    socket.send(json.dumps(message))


def receive_until(socket: ClientConnection, *types: str) -> dict[str, Any]:
    while True:
        message: dict[str, Any] = json.loads(socket.recv(timeout=60))
        if message["type"] in types:
            return message


def state(studio: Studio, job_id: str) -> str:
    answer: str = httpx.get(f"{studio.url}/v1/jobs/{job_id}").json()["state"]
    return answer


def test_progress_comes_with_previews_for_who_asks_for_them(socket: ClientConnection) -> None:
    send_message(socket, prompt="a red circle", steps=12, seed=7, previews=True)
    previews, shares = [], []
    while (message := receive_until(socket, "progress", "result"))["type"] == "progress":
        shares.append(message["progress"])
        previews += [message["preview"]] if "preview" in message else []
    assert shares == [round(step / 12, 4) for step in range(1, 13)]
    assert previews and all(base64.b64decode(preview).startswith(b"\xff\xd8") for preview in previews)
    assert message["data"]["seed"] == 7


def test_without_asking_there_are_no_previews(socket: ClientConnection) -> None:
    send_message(socket, prompt="a red circle", steps=3)
    while (message := receive_until(socket, "progress", "result"))["type"] == "progress":
        assert "preview" not in message


def test_a_message_cancels_the_job(socket: ClientConnection, studio: Studio) -> None:
    send_message(socket, **LONG)
    job_id = receive_until(socket, "progress")["job_id"]
    send_message(socket, type="cancel", job_id=job_id)
    assert receive_until(socket, "cancelled", "result")["type"] == "cancelled"
    assert state(studio, job_id) == "cancelled"


def test_a_message_ends_the_job_early_with_its_picture(socket: ClientConnection) -> None:
    send_message(socket, **LONG)
    job_id = receive_until(socket, "progress")["job_id"]
    send_message(socket, type="finish", job_id=job_id)
    message = receive_until(socket, "cancelled", "result", "error")
    assert message["type"] == "result"
    assert 0 < message["data"]["receipt"]["unfinished_at_step"] < message["data"]["receipt"]["steps"]
    assert base64.b64decode(message["data"]["image_b64"]).startswith(b"\x89PNG")


def test_closing_cancels_the_jobs(studio: Studio) -> None:
    with connect(f"{studio.url.replace('http', 'ws')}/v1/ws", max_size=None) as socket:
        send_message(socket, **LONG)
        send_message(socket, **LONG)
        jobs = {receive_until(socket, "queued", "started")["job_id"] for _ in range(3)}
        receive_until(socket, "progress")
    end = time.monotonic() + 90
    while (states := [state(studio, job_id) for job_id in jobs]) != ["cancelled"] * len(jobs):
        assert time.monotonic() < end, states
        time.sleep(0.1)
    assert len(jobs) == 2


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{", "message"),
        ("[]", "message"),
        ('{"type": "dance"}', "type"),
        ("{}", "prompt"),
        ('{"prompt": "a", "steps": 0}', "steps"),
        ('{"prompt": "a", "previews": 1}', "previews"),
        ('{"prompt": "a", "size": "big"}', "size"),
        ('{"type": "cancel", "job_id": 5}', "job_id"),
        ('{"type": "finish"}', "job_id"),
        ("[" * 10_000, "message"),
    ],
)
def test_what_is_wrong_is_named_and_the_socket_goes_on(socket: ClientConnection, text: str, field: str) -> None:
    socket.send(text)
    message = receive_until(socket, "error")
    assert (message["code"], message["field"]) == ("invalid_request", field)
    send_message(socket, prompt="a red circle", steps=1)
    assert receive_until(socket, "result", "error")["type"] == "result"


def test_bytes_are_no_message(studio: Studio) -> None:
    with connect(f"{studio.url.replace('http', 'ws')}/v1/ws") as socket:
        socket.send(b"\x00\x01")
        assert receive_until(socket, "error")["field"] == "message"


def test_another_ones_job_cannot_be_cancelled(socket: ClientConnection) -> None:
    for message_type in ("cancel", "finish"):
        send_message(socket, type=message_type, job_id="0" * 32)
        assert receive_until(socket, "error")["code"] == "unknown_job"
