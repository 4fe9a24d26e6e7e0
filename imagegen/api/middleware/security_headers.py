"""Adds security headers to every response, and says which caches may keep it."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagegen.api.door import Door, find_door, has_prefix
from imagegen.api.middleware.base import Middleware


class SecurityHeaders(Middleware):
    """With `is_embedding_allowed`, pages of Hugging Face may show the studio in a frame.

    Caches that several users share may keep only what needs no sign-in. Browsers keep files that never change.
    """

    def __init__(self, app: ASGIApp, doors: Sequence[Door], is_embedding_allowed: bool) -> None:
        super().__init__(app)
        self.doors = doors
        frame_ancestors = " https://huggingface.co" if is_embedding_allowed else ""
        self.headers = {
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Content-Security-Policy": f"frame-ancestors 'self'{frame_ancestors}",
        }

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        door, path = find_door(self.doors, scope["path"]), scope["path"]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in (self.headers | choose_caching(door, path, message["status"])).items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)


def choose_caching(door: Door, path: str, status: int) -> dict[str, str]:
    """Returns the Cache-Control header of a response, if it has one."""
    if door.sign_in != "none":
        return {"Cache-Control": "private"}
    is_immutable = status == HTTPStatus.OK and any(has_prefix(path, prefix) for prefix in door.immutable_prefixes)
    return {"Cache-Control": "public, max-age=31536000, immutable"} if is_immutable else {}
