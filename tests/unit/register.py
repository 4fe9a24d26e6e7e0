"""Doubles of those who know users, and of a request."""

from __future__ import annotations

import asyncio

from starlette.types import Scope

from imagegen.access.identity import Identity
from imagegen.errors import BadCredentials, SignInUnavailable


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Register:
    """An authority that knows one token, counts how often it is asked, and can be away."""

    tokens, fresh = "a token of the test's", 60.0

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away = False
        self.known = {"good": Identity("ann")}
        self.open = asyncio.Event()
        self.open.set()

    async def identify(self, token: str) -> Identity:
        self.asked.append(token)
        await self.open.wait()
        if self.away:
            raise SignInUnavailable
        if token not in self.known:
            raise BadCredentials(what=self.tokens)
        return self.known[token]

    def has(self, identity: Identity) -> bool:
        return True


def asked(path: str = "/v1/txt2img", method: str = "POST", client: str = "10.0.0.1", **headers: str) -> Scope:
    pairs = {"host": "studio.example:7860"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in pairs.items()],
        "client": (client, 4711),
    }
