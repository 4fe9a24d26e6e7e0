"""Doubles of an authority and of a request."""

from __future__ import annotations

import asyncio

from starlette.types import Scope

from imagegen.access.identity import Identity
from imagegen.errors import BadCredentials, SignInUnavailable


class FakeTokenAuthority:
    """An authority that knows one token, counts calls, and can be made unavailable."""

    token_hint, cache_seconds, is_remote = "a token of the test's", 60.0, True

    def __init__(self) -> None:
        self.checked_tokens: list[str] = []
        self.is_unavailable = False
        self.known = {"good": Identity("ann")}
        self.response_allowed = asyncio.Event()
        self.response_allowed.set()

    async def identify(self, token: str) -> Identity:
        self.checked_tokens.append(token)
        await self.response_allowed.wait()
        if self.is_unavailable:
            raise SignInUnavailable
        if token not in self.known:
            raise BadCredentials(what=self.token_hint)
        return self.known[token]

    def is_still_valid(self, identity: Identity) -> bool:
        return True


def make_scope(
    path: str = "/v1/txt2img", method: str = "POST", client: str = "10.0.0.1", scheme: str = "http", **headers: str
) -> Scope:
    pairs = {"host": "studio.example:7860"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "type": "http",
        "method": method,
        "scheme": scheme,
        "path": path,
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in pairs.items()],
        "client": (client, 4711),
    }
