"""A user's resources do not exist for other users, on any route."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent
from PIL import Image

from imagegen.api.rest.openapi import SAMPLE_IMAGE, SAMPLE_MASK
from tests.acceptance.conftest import ALICE, BOB, Studio, make_client, run_coroutine
from tests.acceptance.test_route_access import GRADIO, VALUES


@pytest.fixture
def alice(guarded: Studio) -> Iterator[httpx2.Client]:
    with make_client(guarded, ALICE) as web:
        yield web


@pytest.fixture
def bob(guarded: Studio) -> Iterator[httpx2.Client]:
    with make_client(guarded, BOB) as web:
        yield web


def start_gradio_call(web: httpx2.Client, steps: int = 1) -> str:
    """Returns the id of a Gradio event."""
    data = [*VALUES[:4], steps, *VALUES[5:]]
    event: str = web.post(f"{GRADIO}/call/txt2img", json={"data": data}).json()["event_id"]
    return event


def join_gradio_queue(web: httpx2.Client) -> str:
    """Returns a session that has started."""
    session = secrets.token_hex(8)
    call = {"data": [], "fn_index": 0, "session_hash": session}
    assert web.post(f"{GRADIO}/queue/join", json=call).status_code == 200
    return session


def status(web: httpx2.Client, address: str) -> int:
    """Does not wait for the end of a stream."""
    with web.stream("GET", address) as answer:
        return answer.status_code


@pytest.mark.parametrize("query", ["session_hash=mine&session_hash={0}", "session_hash={0}&session_hash=mine"])
def test_a_session_named_beside_ones_own_is_seen_too(alice: httpx2.Client, bob: httpx2.Client, query: str) -> None:
    session = join_gradio_queue(alice)
    mine = secrets.token_hex(8)
    assert status(bob, f"{GRADIO}/queue/data?{query.format(session).replace('mine', mine)}") == 404


def test_an_upload_named_beside_a_session_is_seen_too(alice: httpx2.Client, bob: httpx2.Client) -> None:
    upload, mine = secrets.token_hex(8), secrets.token_hex(8)
    alice.post(f"{GRADIO}/upload?upload_id={upload}", files={"files": ("a.txt", b"a")})
    assert status(bob, f"{GRADIO}/upload_progress?upload_id={upload}&session_hash={mine}") == 404


def test_an_event_is_not_cancelled_from_another_session(alice: httpx2.Client, bob: httpx2.Client) -> None:
    call = {"session_hash": secrets.token_hex(8), "fn_index": 0, "event_id": start_gradio_call(alice)}
    assert bob.post(f"{GRADIO}/cancel", json=call).status_code == 404


def test_an_event_without_a_session_is_not_visible_to_others(alice: httpx2.Client, bob: httpx2.Client) -> None:
    event = start_gradio_call(alice)
    assert status(bob, f"{GRADIO}/queue/data?session_hash={event}") == 404
    assert "complete" in alice.get(f"{GRADIO}/call/txt2img/{event}").text


@pytest.mark.parametrize("file", ["jobs.sqlite", "session_secret", "sessions.sqlite", "../log.jsonl", "cache", ""])
def test_no_file_of_the_studio_is_served(alice: httpx2.Client, guarded: Studio, file: str) -> None:
    assert (guarded.data_dir / file).exists()
    assert alice.get(f"{GRADIO}/file={guarded.data_dir / file}").status_code == 404


@pytest.mark.parametrize("way", ["{0}/../../jobs.sqlite", "{0}%2f..%2f..%2fjobs.sqlite", "{0}/./../../session_secret"])
def test_no_way_leads_out_of_the_folder_of_uploads(alice: httpx2.Client, guarded: Studio, way: str) -> None:
    (upload,) = alice.post(f"{GRADIO}/upload", files={"files": ("a.txt", b"a")}).json()
    assert alice.get(f"{GRADIO}/file={way.format(Path(upload).parent)}").status_code == 404


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/a.png", "https://example.org/a.png", "HTTP://example.org/a"])
def test_the_studio_fetches_nothing_for_others(alice: httpx2.Client, address: str) -> None:
    assert alice.get(f"{GRADIO}/file={address}").status_code == 404
    file = {"path": address, "url": address, "meta": {"_type": "gradio.FileData"}}
    answer = alice.post(f"{GRADIO}/call/img2img", json={"data": ["a red circle", file]})
    assert answer.status_code == 400 and "must be an uploaded file" in answer.json()["detail"]


def test_another_users_upload_is_no_picture_to_begin_with(alice: httpx2.Client, bob: httpx2.Client) -> None:
    (upload,) = alice.post(f"{GRADIO}/upload", files={"files": ("a.png", b"a")}).json()
    file = {"path": upload, "meta": {"_type": "gradio.FileData"}}
    body = {"prompt": "a red circle", "init_image": file}
    assert bob.post(f"{GRADIO}/call/img2img", json={"data": ["a", file]}).status_code == 404
    assert bob.post(f"{GRADIO}/call/v2/img2img", json=body).status_code == 404


def test_another_users_picture_is_no_picture_to_begin_with(alice: httpx2.Client, bob: httpx2.Client) -> None:
    made = alice.post("/v1/txt2img", json={"prompt": "a red circle", "steps": 1}).json()
    answer = bob.post("/v1/img2img", json={"prompt": "a red circle", "init_image": made["id"]})
    assert answer.status_code == 400 and answer.json()["error"]["message"] == "init_image: is not known here"


def test_another_users_mask_is_no_mask(alice: httpx2.Client, bob: httpx2.Client) -> None:
    pictures = {"init_image": SAMPLE_IMAGE, "mask_image": SAMPLE_MASK}
    request = {"prompt": "a red circle", "steps": 1, "width": 64, "height": 64}
    receipt = alice.post("/v1/inpaint", json=request | pictures).json()["receipt"]
    mask = {"mask_image": receipt["mask_image"]}
    assert alice.post("/v1/inpaint", json=request | pictures | mask).status_code == 200
    answer = bob.post("/v1/inpaint", json=request | pictures | mask)
    assert answer.status_code == 400 and answer.json()["error"]["message"] == "mask_image: is not known here"
    assert bob.get(f"/v1/inputs/{receipt['mask_image']}").status_code == 404


def test_the_same_key_of_two_users_stands_for_two_jobs(alice: httpx2.Client, bob: httpx2.Client) -> None:
    request_body, key = {"prompt": "a red circle", "steps": 1}, {"Idempotency-Key": secrets.token_hex(8)}
    first, second = (web.post("/v1/jobs", json=request_body, headers=key).json()["id"] for web in (alice, bob))
    assert first != second
    assert alice.post("/v1/jobs", json=request_body, headers=key).json()["id"] == first


def test_a_name_that_a_client_gives_itself_means_nothing(bob: httpx2.Client) -> None:
    claimed = {"x-gradio-user": "alice", "x-studio-inside": "1", "x-forwarded-user": "alice"}
    assert bob.get(f"{GRADIO}/user", headers=claimed).json() == "bob"


def call_image_tool(studio: Studio, headers: dict[str, str], tool: str = "txt2img", **fields: Any) -> str:
    """Returns the id of a picture that a tool made."""

    async def call() -> CallToolResult:
        async with (
            httpx.AsyncClient(headers=headers, timeout=60) as web,
            streamable_http_client(f"{studio.url}{GRADIO}/mcp/", http_client=web) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await session.call_tool(tool, {"prompt": "a red circle", "steps": 1, **fields})

    texts = [content.text for content in run_coroutine(call()).content if isinstance(content, TextContent)]
    picture: str
    (picture,) = re.findall(r"/v1/images/([0-9a-f]{32})", " ".join(texts))
    return picture


def test_a_picture_made_by_a_tool_belongs_to_its_caller(
    guarded: Studio, alice: httpx2.Client, bob: httpx2.Client
) -> None:
    for token, owner, stranger in ((ALICE, alice, bob), (BOB, bob, alice)):
        picture = call_image_tool(guarded, {"Authorization": f"Bearer {token}"})
        assert owner.get(f"/v1/images/{picture}").status_code == 200
        assert stranger.get(f"/v1/images/{picture}").status_code == 404


def test_without_sign_in_a_tool_works_for_the_machine_that_called_it(studio: Studio) -> None:
    """The address comes from a proxy on this machine."""
    here: dict[str, str] = {}
    there = {"X-Forwarded-For": "10.1.2.3"}
    picture = call_image_tool(studio, there)
    again = call_image_tool(studio, there, "img2img", init_image=picture)
    for made in (picture, again):
        assert httpx2.get(f"{studio.url}/v1/images/{made}", headers=there).status_code == 200
        assert httpx2.get(f"{studio.url}/v1/images/{made}", headers=here).status_code == 404


@pytest.mark.parametrize("size", [64, 1600])
def test_a_tool_takes_small_and_large_pictures_in_base64(studio: Studio, size: int) -> None:
    buffer = BytesIO()
    Image.effect_noise((size, size), 100).save(buffer, format="PNG")
    sent = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    assert len(sent) > 2**20 or size == 64
    assert len(call_image_tool(studio, {}, "img2img", init_image=sent)) == 32


@pytest.mark.parametrize("prefix", ["", "/studio", "/studio/studio"])
def test_a_prefix_does_not_bypass_authentication(proxied: Studio, prefix: str) -> None:
    with make_client(proxied, ALICE) as alice, make_client(proxied, BOB) as bob, make_client(proxied) as nobody:
        session = join_gradio_queue(alice)
        assert alice.post(f"{prefix}{GRADIO}/run/txt2img", json={"data": VALUES}).status_code == 404
        assert status(bob, f"{prefix}{GRADIO}/queue/data?session_hash={session}") == 404
        assert nobody.get(f"{prefix}/config").status_code == 401
        assert nobody.get(f"{prefix}/healthz").status_code == 200
        assert bob.get(f"{prefix}/v1/models/list").status_code == 200
