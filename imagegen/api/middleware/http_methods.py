"""Answers HEAD and OPTIONS on every route."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from imagegen.api.middleware.base import Middleware

METHOD_NOT_ALLOWED = 405


class HttpMethods(Middleware):
    """HEAD is answered as GET, without the body; OPTIONS with the methods that the route allows."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope.get("method"):
            case "HEAD":
                await self.app({**scope, "method": "GET"}, receive, HeadSend(send))
            case method:
                await self.app(scope, receive, AllowSend(send, is_options=method == "OPTIONS"))


class HeadSend:
    """Ends the response after its headers. The server then reports a disconnect, which ends streams of events."""

    def __init__(self, send: Send) -> None:
        self.send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self.send(message)
            await self.send({"type": "http.response.body", "body": b""})


class AllowSend:
    """Adds HEAD and OPTIONS to the methods that a route allows, and to OPTIONS answers with these alone."""

    def __init__(self, send: Send, is_options: bool) -> None:
        self.send, self.is_options = send, is_options
        self.is_answered = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == METHOD_NOT_ALLOWED:
            headers = MutableHeaders(raw=list(message["headers"]))
            headers["allow"] = complete_methods(headers.get("allow", ""))
            message = {**message, "headers": headers.raw}
            if self.is_options:
                self.is_answered = True
                kept = [pair for pair in headers.raw if not pair[0].startswith(b"content-")]
                await self.send({**message, "status": 204, "headers": kept})
                await self.send({"type": "http.response.body", "body": b""})
        if not self.is_answered:
            await self.send(message)


def complete_methods(allowed: str) -> str:
    """Returns the methods of an Allow header, with HEAD where GET is allowed, and with OPTIONS."""
    methods = {method.strip() for method in allowed.split(",") if method.strip()} | {"OPTIONS"}
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))
