"""Adds scripts to the Gradio page that run before Gradio's, and corrects its addresses."""

from __future__ import annotations

from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from imagegen.api.middleware.base import Middleware

ADDRESS_SCRIPT, LANGUAGE_SCRIPT = (
    Path(__file__).with_name(name).read_bytes() for name in ("page_address.js", "page_language.js")
)
REPLACEMENTS = (
    # Gradio's own scripts begin here. Its option `head` would be too late: one of these scripts adds it.
    (
        b'<script type="module"',
        b'<script>%s</script><script>%s</script><script type="module"' % (LANGUAGE_SCRIPT, ADDRESS_SCRIPT),
    ),
    # Absolute addresses lead outside if the studio is under a path. Without a link, a browser asks for /favicon.ico.
    (
        b'<link rel="manifest" href="/manifest.json"',
        b'<link rel="icon" href="./favicon.ico" /><link rel="manifest" href="./manifest.json"',
    ),
)


class PageScripts(Middleware):
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") != "GET" or scope["path"] != "/":
            await self.app(scope, receive, send)
        else:
            MutableHeaders(scope=scope)["accept-encoding"] = "identity"
            await self.app(scope, receive, PageSend(send))


class PageSend:
    """Collects a response, and sends it with the replacements if it is HTML."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.start: Message = {}
        self.parts: list[bytes] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        else:
            self.parts.append(message.get("body", b""))
            if not message.get("more_body"):
                await self.send_page(b"".join(self.parts))

    async def send_page(self, page: bytes) -> None:
        headers = MutableHeaders(raw=list(self.start["headers"]))
        if headers.get("content-type", "").startswith("text/html"):
            for old, new in REPLACEMENTS:
                page = page.replace(old, new, 1)
            headers["content-length"] = str(len(page))
            headers.add_vary_header("Accept-Language, Cookie")
        await self.send({**self.start, "headers": headers.raw})
        await self.send({"type": "http.response.body", "body": page})
