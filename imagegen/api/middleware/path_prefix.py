"""Removes the prefix of `public_url` from the path of a request."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from imagegen.api.middleware.base import Middleware
from imagegen.settings import Settings


class PathPrefix(Middleware):
    """Everything behind it sees the same path, whether the proxy removes the prefix or not."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        super().__init__(app)
        self.prefix = prefix

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.prefix and scope["path"] == self.prefix and scope.get("method") == "GET":
            # The addresses in the page are relative, and would lead outside.
            await RedirectResponse(f"{self.prefix}/", 307)(scope, receive, send)
        else:
            await self.app({**scope, "path": strip_prefix(scope["path"], self.prefix)}, receive, send)


def get_path_prefix(settings: Settings) -> str:
    """Returns the path of `public_url` without a slash at the end, and "" if there is none."""
    return urlsplit(settings.public_url or "").path


def strip_prefix(path: str, prefix: str) -> str:
    """Removes the prefix as often as it occurs, as the routers behind would do."""
    while prefix and f"{path}/".startswith(f"{prefix}/"):
        path = path.removeprefix(prefix) or "/"
    return path
