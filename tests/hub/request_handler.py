"""One connection to the stand-in: logs requests, applies faults, and turns errors into responses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.hub.state import Request, State


class HubError(Exception):
    """An error response. The client distinguishes errors by `code` and `message`."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})}


class RequestHandler(BaseHTTPRequestHandler):
    """Base of the handlers. The hub sets `state` in a subclass; `current_request` is the request being handled."""

    protocol_version = "HTTP/1.1"
    state: State
    current_request: Request

    def setup(self) -> None:
        super().setup()
        self.state.connections.add(self.connection)

    def finish(self) -> None:
        self.state.connections.discard(self.connection)
        super().finish()

    def log_message(self, *args: Any, **named: Any) -> None:
        """Discards messages: the hub has its own log."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url, headers = urlsplit(self.path), self.headers
        rest = [headers.get(name, "") for name in ("Host", "Authorization", "Range")]
        rest.append(self.rfile.read(int(headers.get("Content-Length", 0))).decode())
        self.current_request = Request(self.command, unquote(url.path), url.query, *rest)
        self.state.log.append(self.current_request)
        try:
            self.apply_fault()
            self.route()
        except HubError as refusal:
            self.send_json({"error": str(refusal)}, refusal.status, refusal.headers)

    def apply_fault(self) -> None:
        fault = self.state.faults.take(str(self.current_request), about_contents=False)
        if fault is None:
            return
        if self.state.closing.wait(fault.delay):
            raise ConnectionAbortedError
        if fault.status is not None:
            raise HubError(fault.status, "", "This was to be expected.", fault.headers)

    def route(self) -> None:
        raise NotImplementedError

    @property
    def user(self) -> str | None:
        """The user of the request's token; None without one."""
        token = self.current_request.authorization.removeprefix("Bearer ")
        if token and (token not in self.state.users or token in self.state.revoked):
            raise HubError(401, "", "Invalid credentials in Authorization header")
        return self.state.users.get(token)

    def send_json(self, body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Sends JSON."""
        self.send_text(json.dumps(body), "application/json", status, headers)

    def send_text(self, text: str, kind: str, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        content = text.encode()
        self.send_response(status)
        usual = {"Content-Type": kind, "Content-Length": str(len(content))}
        for name, value in (usual | dict(headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
