"""Programs that authenticate with a token."""

from __future__ import annotations

import base64
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from gradio_client import Client
from gradio_client.exceptions import AuthenticationError

from tests.acceptance.conftest import ALICE, Studio, make_client
from tests.hub.server import StandInHub

WHOAMI = "GET /api/whoami-v2"
LISTED = "/v1/models/list"
PLANTED = "hf_planted_canary_token"
REFUSED = "a canary that sings of secrets"
REQUEST_BODY = {"prompt": "a red circle", "steps": 1}
BAD = {"prompt": REFUSED, "steps": 100_000, "data": []}


def basic(name: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


def status(studio: Studio, path: str = LISTED, **headers: str) -> int:
    with make_client(studio, **headers) as web:
        return web.get(path).status_code


def test_a_token_is_good_in_either_header(guarded: Studio) -> None:
    assert status(guarded, Authorization=f"Bearer {ALICE}") == 200
    assert status(guarded, X_HF_Authorization=f"Bearer {ALICE}") == 200


def test_gradios_client_sends_its_token(guarded: Studio) -> None:
    client = Client(guarded.url, token=ALICE, verbose=False)
    _, receipt = client.predict("a red circle", steps=1, api_name="/txt2img")
    assert receipt["steps"] == 1


@pytest.mark.parametrize("token", ["hf_wrong", False])
def test_gradios_client_gets_an_authentication_error(guarded: Studio, token: str | bool) -> None:
    with pytest.raises(AuthenticationError):
        Client(guarded.url, token=token, verbose=False)


@pytest.mark.parametrize(("name", "password"), [("alice", ALICE), (ALICE, ""), ("somebody", ALICE)])
def test_a_token_is_a_password_where_programs_know_nothing_else(guarded: Studio, name: str, password: str) -> None:
    assert status(guarded, "/sdapi/v1/options", Authorization=basic(name, password)) == 200


@pytest.mark.parametrize("path", [LISTED, "/config", "/gradio_api/info", "/v1/models"])
def test_a_token_is_no_password_elsewhere(guarded: Studio, path: str) -> None:
    assert status(guarded, path, Authorization=basic("alice", ALICE)) == 401


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Basic /w==", basic("alice", "hf_wrong"), basic("", "")])
def test_a_wrong_password_is_refused(guarded: Studio, header: str) -> None:
    assert status(guarded, "/sdapi/v1/options", Authorization=header) == 401


@pytest.mark.parametrize(
    ("path", "scheme"), [("/v1/models/list", "Bearer"), ("/config", "Bearer"), ("/sdapi/v1/options", "Basic")]
)
@pytest.mark.parametrize("token", [None, "hf_wrong"])
def test_an_unauthenticated_request_gets_sign_in_instructions(
    guarded: Studio, path: str, scheme: str, token: str | None
) -> None:
    with make_client(guarded, token) as web:
        answer = web.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == f'{scheme} realm="studio"'


STRANGE = [
    b"hf_a\xc3\xa4",
    b"hf_a b",
    b"hf_a\x7f",
    b"hf_" + b"a" * 10_000,
    b"hf_a,Bearer hf_b",
    b'"hf_a"',
    b"null",
    b"==",
]


@pytest.mark.parametrize("token", STRANGE, ids=range(len(STRANGE)))
def test_a_strange_token_is_a_wrong_one(guarded: Studio, token: bytes) -> None:
    assert raw_status(guarded, b"Authorization: Bearer " + token) == 401


def raw_status(studio: Studio, *lines: bytes) -> int:
    """Sends a request that no client would send."""
    place = urlsplit(studio.url)
    assert place.hostname is not None
    head = b"\r\n".join([f"GET {LISTED} HTTP/1.1".encode(), f"Host: {place.netloc}".encode(), *lines])
    with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
        connection.sendall(head + b"\r\nConnection: close\r\n\r\n")
        return int(connection.makefile("rb").readline().split()[1])


def test_a_line_break_in_a_token_begins_no_header_of_the_hubs(guarded: Studio, people: StandInHub) -> None:
    before = len(people.requests(WHOAMI))
    assert raw_status(guarded, b"Authorization: Bearer hf_a\r\n Authorization: Bearer " + ALICE.encode()) in (400, 401)
    with make_client(guarded) as web:
        answer = web.post("/login/token", data={"token": f"hf_a\r\nAuthorization: Bearer {ALICE}"})
    assert answer.status_code == 401 and "set-cookie" not in answer.headers
    assert len(people.requests(WHOAMI)) == before


def test_a_token_in_the_address_or_the_body_is_none(guarded: Studio) -> None:
    with make_client(guarded) as web:
        assert web.get(f"{LISTED}?token={ALICE}&access_token={ALICE}").status_code == 401
        call = {"data": ["a red circle"], "oauth_token": ALICE}
        assert web.post("/gradio_api/call/txt2img", json=call).status_code == 401
        assert web.get(LISTED, headers={"Cookie": f"studio_session={ALICE}; token={ALICE}"}).status_code == 401


def test_fifty_who_come_at_once_are_asked_for_once(allowlist_studio: Studio, frail_hub: StandInHub) -> None:
    frail_hub.add_fault(WHOAMI, delay=0.5)
    before = len(frail_hub.requests(WHOAMI))
    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(lambda _: status(allowlist_studio, Authorization="Bearer hf_more_0"), range(50)))
    assert found == [200] * 50
    assert len(frail_hub.requests(WHOAMI)) == before + 1


def test_a_hub_that_is_down_stops_nobody_whom_it_named_before(allowlist_studio: Studio, frail_hub: StandInHub) -> None:
    assert status(allowlist_studio, Authorization=f"Bearer {ALICE}") == 200
    frail_hub.add_fault(WHOAMI, times=None, status=503)
    with make_client(allowlist_studio, "hf_more_1") as web:
        answer = web.get(LISTED)
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
    assert answer.json()["error"]["code"] == "sign_in_unavailable"
    assert status(allowlist_studio, Authorization=f"Bearer {ALICE}") == 200
    frail_hub.clear_faults()
    assert status(allowlist_studio, Authorization="Bearer hf_more_1") == 200


def test_a_hub_that_does_not_answer_holds_up_nobody_else(allowlist_studio: Studio, frail_hub: StandInHub) -> None:
    with make_client(allowlist_studio) as signed_in, ThreadPoolExecutor(8) as pool:
        signed_in.post("/login/token", data={"token": ALICE})
        frail_hub.add_fault(WHOAMI, times=None, delay=7)
        waiting = [
            pool.submit(status, allowlist_studio, Authorization=f"Bearer hf_slow_{number}") for number in range(8)
        ]
        time.sleep(0.5)
        began = time.monotonic()
        assert signed_in.post("/v1/jobs", json=REQUEST_BODY).status_code == 202
        assert time.monotonic() - began < 3
        assert {future.result() for future in waiting} == {503}
    frail_hub.clear_faults()


def test_a_token_that_was_revoked_before_anybody_used_it_is_refused(
    allowlist_studio: Studio, frail_hub: StandInHub
) -> None:
    frail_hub.revoke("hf_more_2")
    assert status(allowlist_studio, Authorization="Bearer hf_more_2") == 401


def test_tokens_and_refused_prompts_are_not_disclosed(allowlist_studio: Studio) -> None:
    secret_texts = []
    for path in ("/v1/txt2img", "/v1/jobs", "/gradio_api/queue/join", "/sdapi/v1/txt2img", "/v1/images/generations"):
        with make_client(allowlist_studio, PLANTED) as web:
            secret_texts.append(web.post(path, json=BAD))
        with make_client(allowlist_studio, ALICE, x_planted=PLANTED) as web:
            secret_texts.append(web.post(path, json=BAD))
            secret_texts.append(web.post(path, content=f"{REFUSED} {PLANTED}"))
    with make_client(allowlist_studio) as web:
        secret_texts.append(web.post("/login/token", data={"token": PLANTED}))
        secret_texts.append(web.get(f"/login/callback?code={PLANTED}&state={PLANTED}"))
    assert [answer.url for answer in secret_texts if not 400 <= answer.status_code < 500] == []
    assert not any(word in answer.text for answer in secret_texts for word in (PLANTED, REFUSED))
    assert holds(allowlist_studio, PLANTED) == holds(allowlist_studio, REFUSED) == []


def holds(studio: Studio, word: str) -> list[Path]:
    """Returns the studio's files, including its log, that contain a word."""
    files = [file for file in studio.data_dir.rglob("*") if file.is_file()]
    return [file for file in [studio.log, *files] if word.encode() in file.read_bytes()]


def test_good_tokens_are_written_nowhere(allowlist_studio: Studio) -> None:
    with make_client(allowlist_studio, ALICE) as web:
        assert web.post("/v1/txt2img", json=REQUEST_BODY).status_code == 200
        assert web.post("/login/token", data={"token": ALICE}).status_code == 303
    assert holds(allowlist_studio, ALICE) == []
    assert holds(allowlist_studio, "alice") != []
