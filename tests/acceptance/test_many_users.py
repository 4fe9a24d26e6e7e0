"""Several users at a time: each sees their picture form at once, and none waits for those of the others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import httpx2
import websockets

from tests.acceptance.conftest import Studio, run_coroutine

USERS = 4
STEPS = 24


async def record_messages_of_user(studio: Studio, number: int, messages: list[tuple[int, dict[str, Any]]]) -> None:
    """One user's picture from the request to its end. The events of all users are recorded in order."""
    address = f"{studio.url.replace('http', 'ws')}/v1/ws"
    async with websockets.connect(address, max_size=None) as socket:
        request = {"prompt": f"circle number {number}", "seed": number, "steps": STEPS, "previews": True}
        await socket.send(json.dumps(request))
        async for text in socket:
            message = json.loads(text)
            messages.append((number, message))
            if message["type"] in ("result", "error"):
                return


async def run_all_users(studio: Studio) -> list[tuple[int, dict[str, Any]]]:
    messages: list[tuple[int, dict[str, Any]]] = []
    await asyncio.gather(*(record_messages_of_user(studio, number, messages) for number in range(USERS)))
    return messages


def find_first_message(messages: Sequence[tuple[int, dict[str, Any]]], number: int, what: str) -> int:
    """Returns the position of one user's first message of a type among all messages."""
    return next(
        place
        for place, (whose, message) in enumerate(messages)
        if whose == number and (message["type"] == what or what in message)
    )


def read_steps(studio: Studio, job_id: str) -> list[int]:
    """Returns the steps in the stored events of a job. Over a socket, a slow reader misses some."""
    lines = httpx2.get(f"{studio.url}/v1/jobs/{job_id}/events").text.splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    return [event["step"] for event in events if event["type"] == "progress"]


def test_nobody_waits_for_a_whole_picture_of_another(studio: Studio) -> None:
    messages = run_coroutine(run_all_users(studio))
    first_end = min(find_first_message(messages, number, "result") for number in range(USERS))
    jobs = []
    for number in range(USERS):
        progress = [message for whose, message in messages if whose == number and message["type"] == "progress"]
        seen = find_first_message(messages, number, "preview")
        assert seen < first_end
        assert messages[seen][1] in progress[:2]
        job_id = progress[0]["job_id"]
        assert read_steps(studio, job_id) == list(range(1, STEPS + 1))
        jobs.append(httpx2.get(f"{studio.url}/v1/jobs/{job_id}").json())
    assert max(job["started"] for job in jobs) < min(job["finished"] for job in jobs)
