"""Programs that say with a token who they are."""

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

from tests.acceptance.conftest import ALICE, Studio, program
from tests.hub.server import StandInHub

WHOAMI = "GET /api/whoami-v2"
LISTED = "/v1/models/list"
PLANTED = "hf_planted_canary_token"
REFUSED = "a canary that sings of secrets"
ASKED = {"prompt": "a red circle", "steps": 1}
BAD = {"prompt": REFUSED, "steps": 100_000, "data": []}


def basic(name: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


def status(studio: Studio, path: str = LISTED, **headers: str) -> int:
    with program(studio, **headers) as web:
        return web.get(path).status_code


def test_a_token_is_good_in_either_header(guarded: Studio) -> None:
    assert status(guarded, Authorization=f"Bearer {ALICE}") == 200
    assert status(guarded, X_HF_Authorization=f"Bearer {ALICE}") == 200


def test_gradios_client_sends_its_token(guarded: Studio) -> None:
    client = Client(guarded.url, token=ALICE, verbose=False)
    _, receipt = client.predict("a red circle", steps=1, api_name="/txt2img")
    assert receipt["steps"] == 1


@pytest.mark.parametrize("token", ["hf_wrong", False])
def test_gradios_client_is_told_that_it_may_not(guarded: Studio, token: str | bool) -> None:
    with pytest.raises(AuthenticationError):
        Client(guarded.url, token=token, verbose=False)


@pytest.mark.parametrize(("name", "password"), [("alice", ALICE), (ALICE, ""), ("somebody", ALICE)])
def test_a_token_is_a_password_where_programs_know_nothing_else(guarded: Studio, name: str, password: str) -> None:
    assert status(guarded, "/sdapi/v1/options", Authorization=basic(name, password)) == 200


@pytest.mark.parametrize("path", [LISTED, "/config", "/gradio_api/info", "/v1/models"])
def test_a_token_is_no_password_elsewhere(guarded: Studio, path: str) -> None:
    assert status(guarded, path, Authorization=basic("alice", ALICE)) == 401


@pytest.mark.parametrize("said", ["Basic", "Basic !", "Basic /w==", basic("alice", "hf_wrong"), basic("", "")])
def test_a_wrong_password_is_refused(guarded: Studio, said: str) -> None:
    assert status(guarded, "/sdapi/v1/options", Authorization=said) == 401


@pytest.mark.parametrize(
    ("path", "scheme"), [("/v1/models/list", "Bearer"), ("/config", "Bearer"), ("/sdapi/v1/options", "Basic")]
)
@pytest.mark.parametrize("token", [None, "hf_wrong"])
def test_whoever_is_not_known_is_told_how_to_sign_in(
    guarded: Studio, path: str, scheme: str, token: str | None
) -> None:
    with program(guarded, token) as web:
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
    """Of a request that no client would send."""
    place = urlsplit(studio.url)
    assert place.hostname is not None
    head = b"\r\n".join([f"GET {LISTED} HTTP/1.1".encode(), f"Host: {place.netloc}".encode(), *lines])
    with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
        connection.sendall(head + b"\r\nConnection: close\r\n\r\n")
        return int(connection.makefile("rb").readline().split()[1])


def test_a_line_break_in_a_token_begins_no_header_of_the_hubs(guarded: Studio, people: StandInHub) -> None:
    before = len(people.requests(WHOAMI))
    assert raw_status(guarded, b"Authorization: Bearer hf_a\r\n Authorization: Bearer " + ALICE.encode()) in (400, 401)
    with program(guarded) as web:
        answer = web.post("/login/token", data={"token": f"hf_a\r\nAuthorization: Bearer {ALICE}"})
    assert answer.status_code == 401 and "set-cookie" not in answer.headers
    assert len(people.requests(WHOAMI)) == before


def test_a_token_in_the_address_or_the_body_is_none(guarded: Studio) -> None:
    with program(guarded) as web:
        assert web.get(f"{LISTED}?token={ALICE}&access_token={ALICE}").status_code == 401
        call = {"data": ["a red circle"], "oauth_token": ALICE}
        assert web.post("/gradio_api/call/txt2img", json=call).status_code == 401
        assert web.get(LISTED, headers={"Cookie": f"studio_session={ALICE}; token={ALICE}"}).status_code == 401


def test_fifty_who_come_at_once_are_asked_for_once(asking: Studio, frail_hub: StandInHub) -> None:
    frail_hub.fault(WHOAMI, delay=0.5)
    before = len(frail_hub.requests(WHOAMI))
    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(lambda _: status(asking, Authorization="Bearer hf_more_0"), range(50)))
    assert found == [200] * 50
    assert len(frail_hub.requests(WHOAMI)) == before + 1


def test_a_hub_that_is_down_stops_nobody_whom_it_named_before(asking: Studio, frail_hub: StandInHub) -> None:
    assert status(asking, Authorization=f"Bearer {ALICE}") == 200
    frail_hub.fault(WHOAMI, times=None, status=503)
    with program(asking, "hf_more_1") as web:
        answer = web.get(LISTED)
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
    assert answer.json()["error"]["code"] == "sign_in_unavailable"
    assert status(asking, Authorization=f"Bearer {ALICE}") == 200
    frail_hub.heal()
    assert status(asking, Authorization="Bearer hf_more_1") == 200


def test_a_hub_that_does_not_answer_holds_up_nobody_else(asking: Studio, frail_hub: StandInHub) -> None:
    with program(asking) as signed_in, ThreadPoolExecutor(8) as pool:
        signed_in.post("/login/token", data={"token": ALICE})
        frail_hub.fault(WHOAMI, times=None, delay=7)
        waiting = [pool.submit(status, asking, Authorization=f"Bearer hf_slow_{number}") for number in range(8)]
        time.sleep(0.5)
        began = time.monotonic()
        assert signed_in.post("/v1/jobs", json=ASKED).status_code == 202
        assert time.monotonic() - began < 3
        assert {future.result() for future in waiting} == {503}
    frail_hub.heal()


def test_a_token_that_was_revoked_before_anybody_used_it_is_refused(asking: Studio, frail_hub: StandInHub) -> None:
    frail_hub.revoke("hf_more_2")
    assert status(asking, Authorization="Bearer hf_more_2") == 401


def test_tokens_and_refused_prompts_are_told_to_nobody(asking: Studio) -> None:
    said = []
    for path in ("/v1/txt2img", "/v1/jobs", "/gradio_api/queue/join", "/sdapi/v1/txt2img", "/v1/images/generations"):
        with program(asking, PLANTED) as web:
            said.append(web.post(path, json=BAD))
        with program(asking, ALICE, x_planted=PLANTED) as web:
            said.append(web.post(path, json=BAD))
            said.append(web.post(path, content=f"{REFUSED} {PLANTED}"))
    with program(asking) as web:
        said.append(web.post("/login/token", data={"token": PLANTED}))
        said.append(web.get(f"/login/callback?code={PLANTED}&state={PLANTED}"))
    assert [answer.url for answer in said if not 400 <= answer.status_code < 500] == []
    assert not any(word in answer.text for answer in said for word in (PLANTED, REFUSED))
    assert holds(asking, PLANTED) == holds(asking, REFUSED) == []


def holds(studio: Studio, word: str) -> list[Path]:
    """Files of the studio, and its log, that a word is found in."""
    files = [file for file in studio.data_dir.rglob("*") if file.is_file()]
    return [file for file in [studio.log, *files] if word.encode() in file.read_bytes()]


def test_good_tokens_are_written_nowhere(asking: Studio) -> None:
    with program(asking, ALICE) as web:
        assert web.post("/v1/txt2img", json=ASKED).status_code == 200
        assert web.post("/login/token", data={"token": ALICE}).status_code == 303
    assert holds(asking, ALICE) == []
    assert holds(asking, "alice") != []
