"""The base of the studio's ASGI middleware."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

MiddlewareFactory = Callable[[ASGIApp], ASGIApp]


class Middleware(ABC):
    """Passes lifespan events on unchanged; subclasses handle HTTP requests and WebSockets."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            await self.handle(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    @abstractmethod
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the request, or passes it on to `self.app`. May raise an ImageGenError before it passes it on."""


def compose(app: ASGIApp, middlewares: Sequence[MiddlewareFactory]) -> ASGIApp:
    """Wraps the app in the middlewares; the first of them receives a request first."""
    for middleware in reversed(middlewares):
        app = middleware(app)
    return app
