"""Accepts sockets, and authenticates their users."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from functools import partial

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect

from imagegen.api.door import DEFAULT_CREDENTIALS
from imagegen.api.middleware.authenticators import Authenticator, get_client_address
from imagegen.api.websocket.messages import close_with_error, parse_message, receive_text
from imagegen.api.websocket.session import Reauthenticate, WebSocketSession
from imagegen.errors import ImageGenError, RateLimited, SignInRequired
from imagegen.schema.base import User
from imagegen.service import Service

AUTH_TIMEOUT_SECONDS = 5.0
# Of a message before the user is known, in characters.
MAX_AUTH_MESSAGE_CHARS = 8192
# Sockets whose user is not known yet.
MAX_UNAUTHENTICATED_SOCKETS = 100
AUTH_HINT = "a token, or send an auth message with a token first"


class WebSocketRoutes:
    """Accepts sockets, authenticates their users, and limits the number of sockets per user."""

    def __init__(self, service: Service, authenticator: Authenticator) -> None:
        self.service, self.authenticator = service, authenticator
        self.open_sockets: Counter[str] = Counter()
        # Sockets whose user is not known yet, by address.
        self.unauthenticated_sockets: Counter[str] = Counter()
        self.max_sockets = service.settings.sockets_per_user

    async def serve(self, socket: WebSocket) -> None:
        await socket.accept()
        with suppress(WebSocketDisconnect, RuntimeError):
            try:
                reauthenticate = (
                    await self.authenticate_by_first_message(socket)
                    if socket.state.user is None
                    else partial(self.authenticate_by_headers, socket)
                )
                user = await reauthenticate()
                self.register_socket(user)
            except ImageGenError as error:
                await close_with_error(socket, error)
                return
            try:
                await WebSocketSession(self.service, socket, user, reauthenticate).run()
            finally:
                self.unregister_socket(user)

    async def authenticate_by_headers(self, socket: WebSocket) -> User:
        """Raises SignInRequired, and the errors of `Authenticator.authenticate`."""
        user = await self.authenticator.authenticate(socket, DEFAULT_CREDENTIALS)
        if user is None:
            raise SignInRequired(what=AUTH_HINT)
        return user

    async def authenticate_by_first_message(self, socket: WebSocket) -> Reauthenticate:
        """Waits for the first message and returns a function that authenticates its token.

        Raises SignInRequired, and RateLimited when too many other sockets wait for theirs.
        """
        address = get_client_address(socket)
        if (
            self.unauthenticated_sockets.total() >= MAX_UNAUTHENTICATED_SOCKETS
            or self.unauthenticated_sockets[address] >= self.max_sockets
        ):
            raise RateLimited(retry_after=1)
        self.unauthenticated_sockets[address] += 1
        try:
            async with asyncio.timeout(AUTH_TIMEOUT_SECONDS):
                text = await receive_text(socket)
        except TimeoutError:
            raise SignInRequired(what=AUTH_HINT) from None
        finally:
            decrement(self.unauthenticated_sockets, address)
        match parse_message(text) if len(text) <= MAX_AUTH_MESSAGE_CHARS else {}:
            case {"type": "auth", "token": str(token)}:
                return partial(self.authenticator.authenticate_token, token, get_client_address(socket))
            case _:
                raise SignInRequired(what=AUTH_HINT)

    def register_socket(self, user: User) -> None:
        """Raises RateLimited."""
        if self.open_sockets[user.id] >= self.max_sockets:
            raise RateLimited(retry_after=1)
        self.open_sockets[user.id] += 1

    def unregister_socket(self, user: User) -> None:
        decrement(self.open_sockets, user.id)


def decrement(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
