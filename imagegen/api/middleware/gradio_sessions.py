"""Keeps the sessions, events and files of Gradio's users apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagegen.api.middleware.base import Middleware
from imagegen.api.middleware.gradio_ownership import FileAccess, GradioOwnership
from imagegen.api.middleware.gradio_routes import get_gradio_path
from imagegen.api.middleware.request_body import limit_body, read_body, replay_body
from imagegen.errors import InvalidRequest
from imagegen.schema.base import User

MAX_JSON_BYTES = 2**20
QUEUE_ROUTES = ("call", "queue", "run", "cancel", "reset")


class GradioSessions(Middleware):
    """Raises NotFound for a session, event or file of another user, and InvalidRequest for a malformed body."""

    def __init__(self, app: ASGIApp, file_access: FileAccess) -> None:
        super().__init__(app)
        self.file_access = file_access
        self.sessions, self.events = GradioOwnership(), GradioOwnership()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        user: User | None = scope["state"]["user"]
        if user is not None:
            path = get_gradio_path(scope["path"])
            route, _, subpath = path.partition("/")
            await self.check_path(scope["method"], path, user)
            session_ids = [*read_session_ids(scope), subpath if route == "heartbeat" else None]
            if is_queue_request(scope, route):
                body = await read_body(limit_body(receive, MAX_JSON_BYTES))
                receive, content = replay_body(body, receive), parse_gradio_body(body)
                await self.check_body(content, user)
                session_ids.append(content.get("session_hash"))
            register_all(self.sessions, session_ids, user)
            send = self.observe_response(scope, send, route, user)
        await self.app(scope, receive, send)

    async def check_path(self, method: str, path: str, user: User) -> None:
        """Checks the file or the event that a path below /gradio_api names. Raises NotFound."""
        if path.startswith("file="):
            await self.file_access.check_access(path.removeprefix("file="), user)
        if path.partition("/")[0] == "call" and method == "GET":
            self.events.check_owner(path.rpartition("/")[2], user)

    async def check_body(self, content: dict[str, Any], user: User) -> None:
        """Checks the files and the event that the body names. Raises NotFound and InvalidRequest."""
        await self.file_access.check_referenced_files(content, user)
        register_all(self.events, [content.get("event_id")], user)

    def observe_response(self, scope: Scope, send: Send, route: str, user: User) -> Send:
        """Returns a `send` that registers the event or the uploaded files that the response names."""
        if scope["method"] != "POST":
            return send
        match route:
            case "call" | "queue":
                return observe_json_response(
                    scope, send, lambda content: self.register_event(content["event_id"], route, user)
                )
            case "upload":
                return observe_json_response(scope, send, lambda files: self.file_access.register_uploads(files, user))
            case _:
                return send

    def register_event(self, event_id: str, route: str, user: User) -> None:
        """A call without a session gets a session of its own, with the id of the event."""
        self.events.register(event_id, user)
        if route == "call":
            self.sessions.register(event_id, user)


def register_all(ownership: GradioOwnership, names: Iterable[Any], user: User) -> None:
    """Raises NotFound."""
    for name in names:
        if isinstance(name, str) and name:
            ownership.register(name, user)


def is_queue_request(scope: Scope, route: str) -> bool:
    return scope["method"] == "POST" and route in QUEUE_ROUTES


def read_session_ids(scope: Scope) -> list[str]:
    """Returns every session that the query names; Gradio uses the last if there are several."""
    values = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    return [value for name in ("session_hash", "upload_id") for value in values.get(name, [])]


def parse_gradio_body(body: bytes) -> dict[str, Any]:
    """Raises InvalidRequest, also for what Gradio could not encode in its response: lone surrogates and NaN."""
    try:
        content = json.loads(body)
        json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise InvalidRequest("body", "must be valid JSON") from None
    if not isinstance(content, dict):
        raise InvalidRequest("body", "must be an object")
    return content


def observe_json_response(scope: Scope, send: Send, on_json: Callable[[Any], object]) -> Send:
    """Returns a `send` that parses a successful JSON response. Turns off the compression of the response."""
    MutableHeaders(scope=scope)["accept-encoding"] = "identity"
    parts: list[bytes] = []
    status = 0

    async def send_and_observe(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)
        if message["type"] == "http.response.body" and status == 200:
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                on_json(json.loads(b"".join(parts)))
        await send(message)

    return send_and_observe
