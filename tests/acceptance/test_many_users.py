"""Several users at a time: each sees his picture form at once, and none waits for those of the others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import websockets

from tests.acceptance.conftest import Studio, awaited

USERS = 4
STEPS = 24


async def watched(studio: Studio, number: int, told: list[tuple[int, dict[str, Any]]]) -> None:
    """One user's picture from the request to its end. What happens to all of them is told in order."""
    address = f"{studio.url.replace('http', 'ws')}/v1/ws"
    async with websockets.connect(address, max_size=None) as socket:
        asked = {"prompt": f"circle number {number}", "seed": number, "steps": STEPS, "previews": True}
        await socket.send(json.dumps(asked))
        async for text in socket:
            message = json.loads(text)
            told.append((number, message))
            if message["type"] in ("result", "error"):
                return


async def all_at_once(studio: Studio) -> list[tuple[int, dict[str, Any]]]:
    told: list[tuple[int, dict[str, Any]]] = []
    await asyncio.gather(*(watched(studio, number, told) for number in range(USERS)))
    return told


def first(told: Sequence[tuple[int, dict[str, Any]]], number: int, what: str) -> int:
    """Where among all messages one user's first of that kind is."""
    return next(
        place
        for place, (whose, message) in enumerate(told)
        if whose == number and (message["type"] == what or what in message)
    )


def test_nobody_waits_for_a_whole_picture_of_another(studio: Studio) -> None:
    told = awaited(all_at_once(studio))
    first_end = min(first(told, number, "result") for number in range(USERS))
    for number in range(USERS):
        seen = first(told, number, "preview")
        assert seen < first_end
        assert told[seen][1]["step"] <= 2
    steps = [
        [message["step"] for whose, message in told if whose == n and message["type"] == "progress"]
        for n in range(USERS)
    ]
    assert all(each[-1] == STEPS for each in steps)
