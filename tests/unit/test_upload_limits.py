"""Uploads, bytes, open connections and sockets are limited for each user or address."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from starlette.types import Receive, Scope, Send

from imagegen.api.middleware.connection_limits import ConnectionLimits
from imagegen.errors import RateLimited
from tests.unit.fake_authority import make_scope
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio


async def test_uploads_to_the_page_are_counted(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path, requests_per_minute=3) as studio:
        answers = [
            await studio.client_without_token.post("/gradio_api/upload", files={"files": ("a.png", b"x")})
            for _ in range(4)
        ]
    assert [answer.status_code for answer in answers[2:]] == [200, 429]
    assert answers[-1].json()["code"] == "too_many_requests"


@pytest.mark.parametrize("path", ["/v1/images/edits", "/v1/images/variations"])
async def test_bytes_are_counted(tmp_path: Path, path: str) -> None:
    async with run_in_process_studio(tmp_path, upload_mb_per_minute=1) as studio:
        statuses = [
            (await studio.client_without_token.post(path, files={"image": ("a.png", bytes(400_000))})).status_code
            for _ in range(3)
        ]
        refused = await studio.client_without_token.post(path, content=b"x")
    assert 429 not in statuses[:2]
    assert statuses[2] == refused.status_code == 429
    assert "more than 1.0 MB in a minute" in refused.text
    assert int(refused.headers["retry-after"]) > 1


async def test_open_requests_of_one_address_are_limited() -> None:
    is_over = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await is_over.wait()

    async def unused() -> dict[str, object]:
        return {}

    async def send(message: object) -> None: ...

    limits = ConnectionLimits(app, max_per_address=2)

    def open_request(address: str) -> asyncio.Task[None]:
        async def call() -> None:
            await limits(make_scope(client=address), unused, send)

        return asyncio.create_task(call())

    tasks = [open_request(address) for address in ("10.0.0.1", "10.0.0.1", "10.0.0.2", *["127.0.0.1"] * 5)]
    with pytest.raises(RateLimited):
        await open_request("10.0.0.1")
    is_over.set()
    await asyncio.gather(*tasks)
    await open_request("10.0.0.1")
    assert not limits.open_by_address


def test_sockets_without_sign_in_are_limited_for_each_address(tmp_path: Path) -> None:
    async def run() -> None:
        async with run_in_process_studio(tmp_path, access="keys", sockets_per_user=2) as studio:
            await asyncio.to_thread(open_sockets, studio)

    asyncio.run(run())


def open_sockets(studio: InProcessStudio) -> None:
    client = TestClient(studio.app, base_url="http://127.0.0.1", client=("10.0.0.1", 1))
    with client.websocket_connect("/v1/ws") as first, client.websocket_connect("/v1/ws") as second:
        with client.websocket_connect("/v1/ws") as third:
            assert third.receive_json()["code"] == "too_much"
        for socket in (first, second):
            socket.send_json({"type": "auth", "token": "wrong"})
            assert socket.receive_json()["code"] == "bad_credentials"
    with client.websocket_connect("/v1/ws") as later:
        later.send_json({"type": "auth", "token": "wrong"})
        assert later.receive_json()["code"] == "bad_credentials"


def test_requests_stay_possible_for_other_users(tmp_path: Path) -> None:
    """A user who sent too much does not stop another."""

    async def run() -> list[int]:
        async with run_in_process_studio(tmp_path, upload_mb_per_minute=0.1) as studio:
            statuses = []
            for address in ("10.0.0.1", "10.0.0.1", "10.0.0.2"):
                transport = httpx.ASGITransport(studio.app, client=(address, 1))
                async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                    statuses.append((await client.post("/v1/txt2img", content=b"x" * 200_000)).status_code)
            return statuses

    assert asyncio.run(run()) == [400, 429, 400]
