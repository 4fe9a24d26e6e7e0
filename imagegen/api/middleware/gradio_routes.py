"""Closes the routes of Gradio that the studio does not use."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import Receive, Scope, Send

from imagegen.api.gradio.door import GRADIO_PREFIX
from imagegen.api.middleware.base import Middleware
from imagegen.errors import UnknownRoute

# Some of these bypass the queue, fetch other addresses, or change the program.
BLOCKED_ROUTES = (
    "api", "component_server", "custom_component", "deep_link", "dev", "file", "openapi.json", "process_recording",
    "profiling", "proxy", "run-history", "runs", "stream", "token", "undo-vibe-edit", "vibe-code", "vibe-edit",
    "vibe-starter-queries",
)  # fmt: skip
BLOCKED_ROOT_ROUTES = ("monitoring", "deep_link", "pwa_icon")


class GradioRoutes(Middleware):
    """Raises UnknownRoute for a blocked route and for WebSockets, which Gradio's page does not use."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" or is_blocked_path(scope["path"]):
            raise UnknownRoute
        # Gradio would answer with CORS headers that allow any origin. OriginCheck has already read this header.
        del MutableHeaders(scope=scope)["origin"]
        await self.app(scope, receive, send)


def get_gradio_path(path: str) -> str:
    """Returns the path below /gradio_api, and "" for any other path."""
    return path.removeprefix(GRADIO_PREFIX).strip("/") if path.startswith(GRADIO_PREFIX) else ""


def is_blocked_path(path: str) -> bool:
    """The page calls handlers without the queue at `run/predict`; other functions must be called through the queue."""
    if path.strip("/").split("/")[0] in BLOCKED_ROOT_ROUTES:
        return True
    route, _, subpath = get_gradio_path(path).partition("/")
    return route in BLOCKED_ROUTES or route.startswith("proxy=") or (route == "run" and subpath != "predict")
