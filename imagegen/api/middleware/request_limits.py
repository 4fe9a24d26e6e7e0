"""Counts invalid requests against the limit of their user, like valid ones."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagegen.api.middleware.base import Middleware
from imagegen.api.middleware.request_body import METHODS_WITHOUT_BODY
from imagegen.errors import ImageGenError, TooManyRequests
from imagegen.schema.base import User
from imagegen.service import Service

INVALID_STATUSES = (400, 404, 405, 408, 413, 415, 422)


class InvalidRequestLimits(Middleware):
    """Raises TooManyRequests instead of the error of an invalid request when its user has reached the limit.

    `Service.submit` counts valid requests.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        super().__init__(app)
        self.service = service

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        user: User | None = scope["state"]["user"]
        if scope["type"] != "http" or scope["method"] in METHODS_WITHOUT_BODY or user is None:
            await self.app(scope, receive, send)
            return
        refusal: TooManyRequests | None = None

        async def send_and_count(message: Message) -> None:
            nonlocal refusal
            if message["type"] == "http.response.start" and message["status"] in INVALID_STATUSES:
                try:
                    self.service.count_request(user)
                except TooManyRequests as error:
                    refusal = error
            if refusal is None:
                await send(message)

        try:
            await self.app(scope, receive, send_and_count)
        except ImageGenError as error:
            if error.status in INVALID_STATUSES:
                self.service.count_request(user)
            raise
        if refusal is not None:
            raise refusal
