"""What is checked of every request before anybody asks who sent it: its size, its host, and the page behind it."""

from __future__ import annotations

import ipaddress
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from imagegen.errors import CrossSite, TooLarge, WrongHost
from imagegen.settings import Settings

# A picture of 20 MB in base64, and what belongs to it.
MAX_BODY = 28 * 2**20
SAFE = ("GET", "HEAD", "OPTIONS")
# Headers with which a client could tell Gradio another address than the true one.
NOT_HEARD = (b"x-gradio-server", b"x-direct-url")


class Front:
    def __init__(self, settings: Settings) -> None:
        public = urlsplit(settings.public_url or "")
        self.https = public.scheme == "https"
        self.names = {name.lower() for name in (*settings.hosts, settings.host, public.hostname or "")}
        self.origins = set(settings.origins)
        self.prefix = public.path.rstrip("/")

    def checked(self, scope: Scope) -> Scope:
        """The request as the studio may believe it. Raises WrongHost and TooLarge."""
        headers = Headers(scope=scope)
        if not self.knows(headers.get("host", "")):
            raise WrongHost
        if int_or_zero(headers.get("content-length")) > MAX_BODY:
            raise TooLarge(MAX_BODY)
        believed = [pair for pair in scope["headers"] if not pair[0].startswith(b"x-forwarded-")]
        scope = {**scope, "headers": [pair for pair in believed if pair[0] not in NOT_HEARD]}
        scope["path"] = self.without_prefix(scope["path"])
        if self.https and urlsplit(f"//{headers.get('host', '')}").hostname in self.names:
            scope["scheme"] = "wss" if scope["type"] == "websocket" else "https"
        return scope

    def knows(self, host: str) -> bool:
        """A web site can give its own name the studio's address, but not give itself one of these names."""
        try:
            asked = urlsplit(f"//{host}")
            name = asked.hostname or ""
        except ValueError:
            return False
        if asked.netloc != host or "@" in host:
            return False
        return name in self.names or "." not in name.removesuffix(".localhost") or is_address(name)

    def without_prefix(self, path: str) -> str:
        """Whether a proxy takes the prefix away or not. Whoever routes later would do so too, and see another path."""
        while self.prefix and f"{path}/".startswith(f"{self.prefix}/"):
            path = path.removeprefix(self.prefix) or "/"
        return path

    def check_origin(self, scope: Scope) -> None:
        """Raises CrossSite when another web site's page asks for what only the studio's own page may."""
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is not None:
            if host_of(origin) != headers.get("host") and origin not in self.origins:
                raise CrossSite
        elif headers.get("sec-fetch-site") == "cross-site" and scope.get("method", "GET") not in SAFE:
            raise CrossSite


def host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def int_or_zero(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0


def limited(receive: Receive, most: int) -> Receive:
    """Raises TooLarge when more comes than may, whatever was announced."""
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > most:
            raise TooLarge(most)
        return message

    return counted


async def whole_body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def again(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already, and then goes on."""
    rest: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return rest.pop() if rest else await receive()

    return replayed
