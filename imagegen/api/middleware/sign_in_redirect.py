"""Redirects a browser that opens the page without a sign-in to the sign-in page."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import Receive, Scope, Send

from imagegen.api.middleware.base import Middleware
from imagegen.errors import SignInRequired


class SignInRedirect(Middleware):
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except SignInRequired:
            if not is_page_request(scope):
                raise
            await RedirectResponse("login", 303)(scope, receive, send)


def is_page_request(scope: Scope) -> bool:
    accepts = Headers(scope=scope).get("accept", "")
    is_page = scope["path"] == "/" and scope.get("method") in ("GET", "HEAD")
    return is_page and ("text/html" in accepts or "*/*" in accepts)
