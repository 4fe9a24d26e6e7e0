"""Refuses requests that pages of other websites send in a user's name."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from imagegen.api.door import Door, find_door
from imagegen.api.middleware.base import Middleware
from imagegen.api.middleware.credentials import has_explicit_token
from imagegen.errors import CrossSiteRequest
from imagegen.origins import DEFAULT_PORTS, Origin, parse_host, parse_origin
from imagegen.settings import Settings
from imagegen.text import truncate

logger = logging.getLogger(__name__)

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
MAX_LOGGED_CHARACTERS = 200
OPAQUE_REMEDY = "A page without an address, such as a file or a sandboxed frame, cannot be allowed."
FOREIGN_REMEDY = "To let the pages of this website use the API, add it to the setting 'origins'."
UNCLEAR_REMEDY = (
    "If this is the address under which users open the studio, set 'public_url' to it, or let the proxy pass the Host"
    " header on. If it is another website whose pages may use the API, add it to the setting 'origins'."
)


class OriginCheck(Middleware):
    """Lets pages of the studio and of `origins` send anything; with `trusts_tokens`, also requests with a bearer token.

    Browsers add cookies and passwords by themselves, a bearer token only if the page has it.
    """

    def __init__(self, app: ASGIApp, doors: Sequence[Door], settings: Settings, trusts_tokens: bool) -> None:
        super().__init__(app)
        self.doors, self.trusts_tokens = doors, trusts_tokens
        self.allowed_origins, self.host_names = frozenset(settings.origins), frozenset(settings.hosts)
        self.public_origin = settings.public_origin
        self.has_default_port = settings.port in DEFAULT_PORTS.values()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        credentials = find_door(self.doors, scope["path"]).credentials
        if not (self.trusts_tokens and has_explicit_token(HTTPConnection(scope), credentials)):
            scope = self.check_origin(scope)
        await self.app(scope, receive, send)

    def check_origin(self, scope: Scope) -> Scope:
        """Returns the scope, with the address under which a page of the studio was opened, if the request names it.

        Raises CrossSiteRequest if a page of another website sent the request.
        """
        headers = Headers(scope=scope)
        text, site = headers.get("origin"), headers.get("sec-fetch-site")
        if text is None:
            if site == "cross-site" and scope.get("method", "GET") not in SAFE_METHODS:
                raise refuse_origin("another website", headers, FOREIGN_REMEDY)
            return scope
        try:
            origin = parse_origin(text)
        except ValueError:
            raise refuse_origin(text, headers, OPAQUE_REMEDY) from None
        if self.is_own_page(origin, site, headers.get("host", ""), scope.get("scheme", "http")):
            return replace_address(scope, origin)
        if str(origin) not in self.allowed_origins:
            raise refuse_origin(str(origin), headers, UNCLEAR_REMEDY if site is None else FOREIGN_REMEDY)
        return scope

    def is_own_page(self, origin: Origin, site: str | None, host: str, scheme: str) -> bool:
        """Whether a page of the studio has this origin.

        `site` is the header Sec-Fetch-Site: whether the page has the origin under which the browser reaches the
        studio, whatever proxies make of the Host header. No page can set it. Browsers send it over HTTPS and to this
        machine. Without it, the origin must have the name and the port in `host`, or a name of the setting `hosts`.
        """
        if origin == self.public_origin:
            return True
        if site is not None:
            return site == "same-origin"
        return origin.host in self.host_names or self.is_at_host(origin, host, scheme)

    def is_at_host(self, origin: Origin, host: str, scheme: str) -> bool:
        name, port = parse_host(host) if host else ("", None)
        if origin.host != name or (scheme in ("https", "wss") and origin.scheme == "http"):
            return False
        if port is not None:
            return port == origin.port
        return origin.has_default_port or self.may_lack_port(name)

    def may_lack_port(self, name: str) -> bool:
        """Whether a Host header without a port may come from a proxy that removed it, such as nginx with `$host`.

        A browser sends it so for a default port only, but the studio does not listen on one.
        """
        is_public = self.public_origin is not None and self.public_origin.host == name
        return not self.has_default_port and not is_public


def replace_address(scope: Scope, origin: Origin) -> Scope:
    """Returns the scope as if the browser had sent it to the studio directly, for the addresses in responses."""
    scheme = origin.scheme.replace("http", "ws") if scope["type"] == "websocket" else origin.scheme
    scope = {**scope, "scheme": scheme, "headers": list(scope["headers"])}
    MutableHeaders(scope=scope)["host"] = origin.authority
    return scope


def refuse_origin(origin: str, headers: Headers, remedy: str) -> CrossSiteRequest:
    """Logs the refusal, and returns its error."""
    origin, host = (truncate(text, MAX_LOGGED_CHARACTERS) for text in (origin, headers.get("host", "")))
    error = CrossSiteRequest(origin, host or "the studio", remedy)
    site = headers.get("sec-fetch-site")
    logger.warning(
        "Refused a request: %s", error, extra={"action": "origin_refused", "origin": origin, "host": host, "site": site}
    )
    return error
