"""Limits on request sizes and rates."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx2
import pytest

from imagegen.api.middleware.request_body import MAX_BODY_BYTES
from tests.acceptance.conftest import ALICE, BOB, BOSS, Studio, make_client

LONG, SHORT = {"prompt": "a red circle", "steps": 150, "batch_size": 8}, {"prompt": "a red circle", "steps": 1}


def test_more_than_so_many_requests_in_a_minute_have_to_wait(space: Studio) -> None:
    with make_client(space, ALICE) as alice, make_client(space, BOSS) as boss:
        found = [alice.post("/v1/jobs", json=SHORT) for _ in range(9)]
        assert found[0].status_code == 202 and found[-1].status_code == 429
        assert found[-1].json()["error"]["code"] == "too_many_requests"
        assert 1 <= int(found[-1].headers["retry-after"]) <= 10
        assert boss.post("/v1/jobs", json=SHORT).status_code == 202


def test_more_than_so_many_waiting_jobs_of_a_user_are_refused(space: Studio) -> None:
    with make_client(space, BOB) as bob:
        found = [bob.post("/v1/jobs", json=LONG) for _ in range(4)]
        jobs = [answer.json()["id"] for answer in found if answer.status_code == 202]
        assert len(jobs) in (2, 3), "two that wait, and one that may run already"
        assert found[3].status_code == 429 and found[3].json()["error"]["code"] == "too_many_jobs"
        assert int(found[3].headers["retry-after"]) > 0
        assert {bob.delete(f"/v1/jobs/{job}").status_code for job in jobs} == {200}


def post_with_declared_length(studio: Studio, path: str, size: int) -> int:
    """Returns the response to headers alone, before any body was sent."""
    place = urlsplit(studio.url)
    assert place.hostname is not None
    head = f"POST {path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {size}\r\n\r\n"
    with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
        connection.sendall(head.encode())
        return int(connection.makefile("rb").readline().split()[1])


def post_chunked(web: httpx2.Client, path: str, size: int) -> httpx2.Response:
    """Sends a body without its length."""

    def parts() -> Iterator[bytes]:
        yield b'{"prompt": "'
        for _ in range(size // 2**16):
            yield b"x" * 2**16
        yield b'"}'

    return web.post(path, content=parts(), headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("path", ["/v1/txt2img", "/gradio_api/upload", "/gradio_api/mcp/", "/login/token", "/"])
def test_a_body_that_is_announced_as_too_large_is_not_waited_for(guarded: Studio, path: str) -> None:
    assert post_with_declared_length(guarded, path, MAX_BODY_BYTES + 1) == 413


@pytest.mark.parametrize("path", ["/v1/txt2img", "/gradio_api/call/txt2img", "/gradio_api/upload", "/gradio_api/mcp/"])
def test_a_body_that_is_too_large_is_refused_whatever_was_announced(guarded: Studio, path: str) -> None:
    with make_client(guarded, ALICE) as web:
        assert post_chunked(web, path, MAX_BODY_BYTES + 2**20).status_code in (400, 413)


def test_what_is_for_gradios_queue_is_small(guarded: Studio) -> None:
    with make_client(guarded, ALICE) as web:
        assert post_chunked(web, "/gradio_api/queue/join", 2 * 2**20).status_code == 413


def test_a_file_that_is_too_large_is_not_uploaded(guarded: Studio) -> None:
    with make_client(guarded, ALICE) as web:
        assert web.post("/gradio_api/upload", files={"files": ("a.png", b"x" * 21 * 10**6)}).status_code == 413


@pytest.mark.parametrize("body", [b"[" * 100_000, b"{", b'"\xff"', b"", b"[]", b"NaN", b'{"data": "\\ud800"}'])
@pytest.mark.parametrize("path", ["/v1/txt2img", "/gradio_api/call/txt2img", "/gradio_api/queue/join"])
def test_a_broken_body_is_refused_in_few_words(guarded: Studio, path: str, body: bytes) -> None:
    with make_client(guarded, ALICE) as web:
        answer = web.post(path, content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500 and len(answer.content) < 2048
