"""Lets clients send JSON without its Content-Type: curl and others name another type if they are given none."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Receive, Scope, Send

from imagegen.api.middleware.base import Middleware
from imagegen.api.middleware.request_body import JSON_STARTS, METHODS_WITHOUT_BODY, replay_message

# What curl, browsers and HTTP libraries send if a program names no type.
DEFAULT_TYPES = ("", "application/x-www-form-urlencoded", "text/plain", "application/octet-stream")


class JsonBodies(Middleware):
    """Sets the Content-Type of a body that begins like a JSON object or list, if it had one of DEFAULT_TYPES.

    Pages of other websites can send such a body without asking first (CORS), so that OriginCheck must come before.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        content_type = Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
        is_http = scope["type"] == "http"
        if is_http and scope["method"] not in METHODS_WITHOUT_BODY and content_type in DEFAULT_TYPES:
            message = await receive()
            receive = replay_message(message, receive)
            if message.get("body", b"").lstrip().startswith(JSON_STARTS):
                scope = {**scope}
                MutableHeaders(scope=scope)["content-type"] = "application/json"
        await self.app(scope, receive, send)
