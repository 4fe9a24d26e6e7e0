"""Gradio's own routes: which are there at all, and whose each session, event and file is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from imagegen.api.claims import Claims, Files
from imagegen.api.front import MAX_BODY, again, limited, whole_body
from imagegen.errors import InvalidRequest, UnknownRoute
from imagegen.schema import User

API = "/gradio_api"
# What the page needs before somebody signed in, and tells nobody anything.
PUBLIC = ("/favicon.ico", "/robots.txt", "/manifest.json", "/theme.css", f"{API}/theme.css", f"{API}/startup-events")
PUBLIC_UNDER = ("/static/", "/assets/", "/svelte/", "/pwa_icon")
# The studio uses none of these, and some of them pass by the queue, ask others, or change the program.
CLOSED = (
    "api", "component_server", "custom_component", "deep_link", "dev", "file", "openapi.json", "process_recording",
    "profiling", "proxy", "run-history", "runs", "stream", "token", "undo-vibe-edit", "vibe-code", "vibe-edit",
    "vibe-starter-queries",
)  # fmt: skip
CLOSED_AT_ROOT = ("monitoring", "deep_link")
MAX_JSON = 2**20


def is_public(path: str) -> bool:
    return path in PUBLIC or path.startswith(PUBLIC_UNDER)


class GradioGate:
    """What one user may not see of another is not there for him: NotFound."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.sessions, self.events = Claims(), Claims()

    async def checked(
        self, scope: Scope, receive: Receive, send: Send, user: User, shares_session: bool
    ) -> tuple[Receive, Send]:
        """The same connection, watched for what becomes the user's. Raises NotFound and InvalidRequest.

        `shares_session`: several users ask through one client of the studio's own, which is that of MCP.
        """
        path = scope["path"].removeprefix(API).strip("/") if scope["path"].startswith(API) else ""
        first, _, rest = path.partition("/")
        if is_closed(path) or path.startswith("proxy=") or scope["path"].strip("/").split("/")[0] in CLOSED_AT_ROOT:
            raise UnknownRoute
        if path.startswith("file="):
            self.files.check(path.removeprefix("file="), user)
        sessions = [*query_values(scope), rest if first == "heartbeat" else None]
        if first == "call" and scope["method"] == "GET":
            self.events.check(path.rpartition("/")[2], user)
        if is_json_for_queue(scope, first):
            # Pictures are uploaded, but for those that come through MCP.
            body = await whole_body(limited(receive, MAX_BODY if shares_session else MAX_JSON))
            receive, content = again(body, receive), decoded(body)
            self.files.check_named(content, user)
            sessions.append(content.get("session_hash"))
            claim_all(self.events, [content.get("event_id")], user)
            if first in ("call", "queue"):
                send = watched(scope, send, lambda answer: self.began(answer["event_id"], first, user))
        elif first == "upload":
            send = watched(scope, send, lambda answer: self.files.uploaded(answer, user))
        if not shares_session:
            claim_all(self.sessions, sessions, user)
        return receive, send

    def began(self, event_id: str, way: str, user: User) -> None:
        """What was called without a session has one of its own, which is named for the event."""
        self.events.claim(event_id, user)
        if way == "call":
            self.sessions.claim(event_id, user)


def claim_all(claims: Claims, names: Iterable[Any], user: User) -> None:
    """Raises NotFound."""
    for name in names:
        if isinstance(name, str) and name:
            claims.claim(name, user)


def is_closed(path: str) -> bool:
    """What the page does without the queue goes to `run/predict`; functions that have a name are for the queue."""
    first, _, rest = path.partition("/")
    return first in CLOSED or (first == "run" and rest != "predict")


def is_json_for_queue(scope: Scope, first: str) -> bool:
    return scope["method"] == "POST" and first in ("call", "queue", "run", "cancel", "reset")


def query_values(scope: Scope) -> list[Any]:
    """All that is named there, however often: Gradio takes the last of several."""
    values = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    return [value for name in ("session_hash", "upload_id") for value in values.get(name, [])]


def decoded(body: bytes) -> dict[str, Any]:
    """Raises InvalidRequest, also for half a character, which Gradio could not answer about."""
    try:
        content = json.loads(body)
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise InvalidRequest("body", "must be valid JSON") from None
    if not isinstance(content, dict):
        raise InvalidRequest("body", "must be an object")
    return content


def watched(scope: Scope, send: Send, note: Callable[[Any], object]) -> Send:
    """Reads a short JSON answer on its way out, if all went well. It must not be compressed."""
    MutableHeaders(scope=scope)["accept-encoding"] = "identity"
    parts: list[bytes] = []
    status = 0

    async def noted(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)
        if message["type"] == "http.response.body" and status == 200:
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                note(json.loads(b"".join(parts)))
        await send(message)

    return noted
