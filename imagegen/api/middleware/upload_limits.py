"""Limits how many files a user uploads to the page in a minute, and how many bytes a user sends in all."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagegen.api.middleware.base import Middleware
from imagegen.api.middleware.gradio_routes import get_gradio_path
from imagegen.errors import TooManyBytes
from imagegen.rate_limit import RateLimiter
from imagegen.schema.base import User
from imagegen.settings import Settings

BYTES_PER_MB = 10**6


class UploadLimits(Middleware):
    """Raises TooManyRequests for uploads, and TooManyBytes while the body of a request arrives."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        super().__init__(app)
        self.uploads = RateLimiter(settings.requests_per_minute)
        self.bytes = RateLimiter(int(settings.upload_mb_per_minute * BYTES_PER_MB), TooManyBytes)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        user: User | None = scope["state"]["user"]
        if scope["type"] == "http" and user is not None:
            if scope["method"] == "POST" and get_gradio_path(scope["path"]) == "upload":
                self.uploads.consume(user.id)
            receive = self.count_bytes(receive, user)
        await self.app(scope, receive, send)

    def count_bytes(self, receive: Receive, user: User) -> Receive:
        async def receive_and_count() -> Message:
            message = await receive()
            if message.get("body"):
                self.bytes.consume(user.id, len(message["body"]))
            return message

        return receive_and_count
