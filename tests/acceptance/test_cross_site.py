"""Requests from pages of other web sites, with which a browser sends its user's cookies."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.acceptance.conftest import ALICE, BOB, Studio, make_client

EVIL = "https://evil.example"
REQUEST_BODY = {"prompt": "a red circle", "steps": 1}


@contextmanager
def signed_in(studio: Studio, token: str) -> Iterator[httpx2.Client]:
    """A browser with a user's session."""
    with make_client(studio) as web:
        assert web.post("/login/token", data={"token": token}).status_code == 303
        assert web.cookies["studio_session"]
        yield web


@pytest.fixture(scope="module")
def alice(guarded: Studio) -> Iterator[httpx2.Client]:
    with signed_in(guarded, ALICE) as web:
        yield web


@pytest.mark.parametrize("origin", [EVIL, "null", "http://127.0.0.1", "http://127.0.0.1:1", "file://", ""])
@pytest.mark.parametrize("path", ["/v1/jobs", "/gradio_api/call/txt2img", "/gradio_api/queue/join", "/logout"])
def test_a_page_of_another_origin_does_nothing_in_a_users_name(alice: httpx2.Client, path: str, origin: str) -> None:
    answer = alice.post(path, json=REQUEST_BODY, headers={"Origin": origin})
    assert answer.status_code == 403
    assert not any(name.startswith("access-control-") for name in answer.headers)


@pytest.mark.parametrize("origin", [EVIL, "null"])
@pytest.mark.parametrize("path", ["/config", "/v1/models/list", "/gradio_api/info", "/"])
def test_a_page_of_another_origin_reads_nothing(alice: httpx2.Client, path: str, origin: str) -> None:
    answer = alice.get(path, headers={"Origin": origin})
    assert answer.status_code == 403
    assert not any(name.startswith("access-control-") for name in answer.headers)


def test_the_studios_own_page_does_what_it_likes(alice: httpx2.Client, guarded: Studio) -> None:
    assert alice.post("/v1/jobs", json=REQUEST_BODY, headers={"Origin": guarded.url}).status_code == 202


def test_a_browser_that_names_no_origin_is_asked_for_the_site(alice: httpx2.Client) -> None:
    assert alice.post("/v1/jobs", json=REQUEST_BODY, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert alice.post("/v1/jobs", json=REQUEST_BODY, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 202


def test_a_link_on_another_site_leads_to_the_page(alice: httpx2.Client) -> None:
    there = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert alice.get("/", headers=there).status_code == 200


def test_another_site_does_not_sign_its_visitors_in(guarded: Studio) -> None:
    with make_client(guarded) as web:
        answer = web.post("/login/token", data={"token": BOB}, headers={"Origin": EVIL})
        assert answer.status_code == 403 and "set-cookie" not in answer.headers


def test_a_password_that_the_browser_remembers_is_no_sign_that_a_program_asks(guarded: Studio) -> None:
    basic = {"Authorization": f"Basic {base64.b64encode(f'alice:{ALICE}'.encode()).decode()}"}
    with make_client(guarded) as web:
        assert web.post("/sdapi/v1/txt2img", json=REQUEST_BODY, headers=basic | {"Origin": EVIL}).status_code == 403
        assert web.post("/sdapi/v1/txt2img", headers=basic | {"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert web.get("/sdapi/v1/options", headers=basic).status_code == 200


def test_a_program_in_a_page_of_another_origin_brings_its_own_token(guarded: Studio) -> None:
    with make_client(guarded, ALICE, Origin=EVIL) as web:
        assert web.post("/v1/jobs", json=REQUEST_BODY).status_code == 202


def preflight(studio: Studio, origin: str) -> httpx2.Response:
    headers = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    with make_client(studio) as web:
        return web.options("/v1/txt2img", headers={"Origin": origin, **headers})


def test_other_origins_get_no_cors_headers_in_a_preflight(guarded: Studio) -> None:
    answer = preflight(guarded, EVIL)
    assert answer.status_code == 403
    assert not any(name.startswith("access-control-") for name in answer.headers)


def test_origins_that_the_owner_named_may_ask(proxied: Studio) -> None:
    friend = "https://friend.example"
    assert preflight(proxied, friend).headers["access-control-allow-origin"] == friend
    with signed_in(proxied, ALICE) as web:
        answer = web.post("/v1/jobs", json=REQUEST_BODY, headers={"Origin": friend})
        assert answer.status_code == 202
        assert answer.headers["access-control-allow-origin"] == friend
        assert web.get("/config", headers={"Origin": friend}).status_code == 200


@pytest.mark.parametrize("origin", [EVIL, "null", "https://friend.example.evil.example", "http://friend.example"])
def test_other_origins_than_those_may_not(proxied: Studio, origin: str) -> None:
    assert "access-control-allow-origin" not in preflight(proxied, origin).headers
    with signed_in(proxied, ALICE) as web:
        answer = web.post("/v1/jobs", json=REQUEST_BODY, headers={"Origin": origin})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


HOSTS = ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost.", "localhost/x", "a@localhost", "["]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/", "/config", "/healthz", "/v1/models/list", "/login"])
def test_a_name_that_somebody_gave_the_studio_is_not_taken(alice: httpx2.Client, path: str, host: str) -> None:
    assert alice.get(path, headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["evil.example", "rebound.example:7860"])
def test_a_studio_that_is_open_is_not_reached_by_a_name_that_leads_to_it(studio: Studio, host: str) -> None:
    with make_client(studio, Host=host, Origin=f"http://{host}") as web:
        assert web.post("/v1/jobs", json=REQUEST_BODY).status_code == 400
        assert web.get("/config").status_code == 400
    with pytest.raises(InvalidStatus) as refused:
        connect(socket_url(studio), additional_headers={"Host": host}).close()
    assert refused.value.response.status_code in (400, 403)


def test_a_studio_that_is_open_is_closed_to_pages_of_others(studio: Studio) -> None:
    with make_client(studio, Origin=EVIL) as web:
        assert web.post("/v1/jobs", json=REQUEST_BODY).status_code == 403
        assert web.post("/v1/jobs", json=REQUEST_BODY, headers={"Authorization": "Bearer x"}).status_code == 403


def test_no_header_tells_the_studio_where_it_is(alice: httpx2.Client, guarded: Studio) -> None:
    claimed = {"X-Forwarded-Prefix": "/evil", "X-Gradio-Server": EVIL, "X-Direct-Url": EVIL}
    claimed |= {"Forwarded": "host=evil.example", "X-Forwarded-Server": "evil.example", "X-Forwarded-Port": "1"}
    assert alice.get("/config", headers=claimed).json()["root"] == guarded.url
    assert "evil" not in alice.get("/", headers=claimed).text
    assert alice.get("/config", headers={"X-Forwarded-Host": "evil.example"}).status_code == 400


def test_the_studio_is_shown_in_no_page_of_another_site(alice: httpx2.Client) -> None:
    headers = alice.get("/").headers
    assert headers["content-security-policy"] == "frame-ancestors 'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


def socket_url(studio: Studio) -> str:
    return f"{studio.url.replace('http', 'ws', 1)}/v1/ws"


def open_socket(studio: Studio, **headers: str) -> ClientConnection:
    return connect(socket_url(studio), additional_headers=headers)


def read_close_code(socket: ClientConnection) -> int:
    try:
        while True:
            socket.recv(timeout=20)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 0


def receive_json(socket: ClientConnection) -> Any:
    return json.loads(socket.recv(timeout=60))


@pytest.mark.parametrize("origin", [EVIL, "null", "http://127.0.0.1:1"])
def test_a_socket_of_another_origins_page_is_refused(guarded: Studio, alice: httpx2.Client, origin: str) -> None:
    cookie = f"studio_session={alice.cookies['studio_session']}"
    with pytest.raises(InvalidStatus) as refused:
        open_socket(guarded, Origin=origin, Cookie=cookie).close()
    assert refused.value.response.status_code == 403


def test_a_socket_of_the_studios_page_is_the_users(guarded: Studio, alice: httpx2.Client) -> None:
    cookie = f"studio_session={alice.cookies['studio_session']}"
    with open_socket(guarded, Origin=guarded.url, Cookie=cookie) as socket:
        socket.send(json.dumps(REQUEST_BODY))
        assert receive_json(socket)["type"] == "queued"


def test_who_says_nothing_is_shown_out_after_five_seconds(guarded: Studio) -> None:
    began = time.monotonic()
    with open_socket(guarded) as socket:
        assert read_close_code(socket) == 4401
    assert 4 < time.monotonic() - began < 8


MESSAGES = [
    json.dumps(REQUEST_BODY), '{"type": "auth"}', '{"type": "auth", "token": 7}',
    '{"type": "auth", "token": "hf_wrong"}',
    "[]", '{"type": "auth", "token": "hf_a\\r\\nX: y"}', '{"type": "auth", "token": "\\ud800"}', "x" * 100_000,
    json.dumps({"type": "auth", "token": "a" * 8200}),
]  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES, ids=range(len(MESSAGES)))
def test_a_wrong_first_message_is_the_last(guarded: Studio, message: str) -> None:
    before = guarded.log.read_text(encoding="utf-8")
    with open_socket(guarded) as socket:
        socket.send(message)
        assert read_close_code(socket) in (4401, 1009)
    assert "Traceback" not in guarded.log.read_text(encoding="utf-8").removeprefix(before)


def test_the_first_message_may_bring_a_token(guarded: Studio) -> None:
    with open_socket(guarded) as socket:
        socket.send(json.dumps({"type": "auth", "token": ALICE}))
        socket.send(json.dumps(REQUEST_BODY))
        assert receive_json(socket)["type"] == "queued"


def test_the_seventeenth_socket_is_one_too_many(guarded: Studio) -> None:
    with ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(open_socket(guarded, Authorization=f"Bearer {BOB}"))
        last = stack.enter_context(open_socket(guarded, Authorization=f"Bearer {BOB}"))
        assert read_close_code(last) == 4429
    with open_socket(guarded, Authorization=f"Bearer {BOB}") as socket:
        socket.send(json.dumps(REQUEST_BODY))
        assert receive_json(socket)["type"] == "queued"
