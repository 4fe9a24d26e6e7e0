"""Adds the user of a request to its state, and refuses requests without a user where a door requires one."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from imagegen.api.door import Door, find_door
from imagegen.api.middleware.authenticators import Authenticator
from imagegen.api.middleware.base import Middleware
from imagegen.errors import SignInRequired
from imagegen.schema.base import User


class SignInCheck(Middleware):
    """Sets `user` in the state of a request; None if there is none."""

    def __init__(self, app: ASGIApp, doors: Sequence[Door], authenticator: Authenticator) -> None:
        super().__init__(app)
        self.doors, self.authenticator = doors, authenticator

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        user = await self.authenticate(connection, find_door(self.doors, scope["path"]))
        scope["state"] = {**scope.get("state", {}), "user": user}
        await self.app(scope, receive, send)

    async def authenticate(self, connection: HTTPConnection, door: Door) -> User | None:
        """Raises SignInRequired, and the errors of `Authenticator.authenticate`."""
        if door.sign_in == "none":
            return None
        user = await self.authenticator.authenticate(connection, door.credentials)
        if user is None and door.sign_in == "required":
            raise SignInRequired(what=self.authenticator.token_hint)
        return user
