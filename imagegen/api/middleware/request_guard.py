"""Checks the host names and the size of a request, and replaces what a trusted proxy changed of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from imagegen.api.host_names import HostNames
from imagegen.api.middleware.base import Middleware
from imagegen.api.middleware.forwarded import Forwarded, TrustedProxies
from imagegen.api.middleware.request_body import MAX_BODY_BYTES, limit_body, parse_content_length
from imagegen.errors import PayloadTooLarge, WrongHost
from imagegen.origins import parse_host
from imagegen.settings import Settings
from imagegen.text import truncate

logger = logging.getLogger(__name__)

# Headers from which Gradio would take the address of the server.
IGNORED_HEADERS = (b"forwarded", b"x-gradio-server", b"x-direct-url")
MAX_LOGGED_CHARACTERS = 200


class RequestGuard(Middleware):
    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        super().__init__(app)
        self.public = settings.public_origin
        self.host_names = HostNames(settings)
        self.trusted_proxies = TrustedProxies(settings.trusted_proxies)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(self.validate_scope(scope), limit_body(receive, MAX_BODY_BYTES), send)

    def validate_scope(self, scope: Scope) -> Scope:
        """Returns the scope as the client sent it to the proxy, without forwarding headers.

        Raises WrongHost and PayloadTooLarge. A page of another website that reaches the studio by DNS rebinding can
        send any X-Forwarded-Host, but not any Host, so that both are checked.
        """
        headers, forwarded = Headers(scope=scope), self.trusted_proxies.read(scope)
        self.check_hosts("Host", headers.getlist("host"))
        self.check_hosts("X-Forwarded-Host", forwarded.hosts)
        if parse_content_length(headers.get("content-length")) > MAX_BODY_BYTES:
            raise PayloadTooLarge(MAX_BODY_BYTES)
        return self.replace_forwarded(scope, forwarded)

    def check_hosts(self, header: str, hosts: Iterable[str]) -> None:
        """Raises WrongHost, and logs the refusal."""
        for host in hosts:
            if host and not self.host_names.is_known(host):
                shown = truncate(host, MAX_LOGGED_CHARACTERS)
                error = WrongHost(shown)
                data = {"action": "host_refused", "header": header, "host": shown}
                logger.warning("Refused a request: %s", error, extra=data)
                raise error

    def replace_forwarded(self, scope: Scope, forwarded: Forwarded) -> Scope:
        scope = {**scope, "headers": [pair for pair in scope["headers"] if not is_forwarding_header(pair[0])]}
        if forwarded.client is not None:
            scope["client"] = (forwarded.client, 0)
        headers, scheme = MutableHeaders(scope=scope), forwarded.scheme
        host = forwarded.hosts[0] if forwarded.hosts else headers.get("host", "")
        if self.public is not None and host:
            name, port = parse_host(host)
            if port is None and name == self.public.host:
                host = self.public.authority  # Some proxies remove the port.
            if scheme is None and self.public.scheme == "https" and name in self.host_names.names:
                scheme = "https"
        if host:
            headers["host"] = host
        if scheme is not None:
            scope["scheme"] = scheme.replace("http", "ws") if scope["type"] == "websocket" else scheme
        return scope


def is_forwarding_header(name: bytes) -> bool:
    return name.startswith(b"x-forwarded-") or name in IGNORED_HEADERS
