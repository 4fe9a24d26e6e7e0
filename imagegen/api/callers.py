"""Who sent a request: the user of a token, of a session, or of a studio that is open."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from typing import Protocol

from starlette.requests import HTTPConnection

from imagegen.access.identity import Policy
from imagegen.access.remembered import Remembered
from imagegen.access.sessions import Sessions
from imagegen.errors import BadCredentials, NotAdmitted
from imagegen.limits import Minute
from imagegen.schema import User

COOKIE = "studio_session"
BASIC = "/sdapi/"
# How many wrong tokens may come from an address in a minute, before nobody is asked about new ones for a while.
GUESSES = 60


class Callers(Protocol):
    """Tell users by what they send."""

    async def caller(self, connection: HTTPConnection) -> User | None:
        """None without credentials. Raises BadCredentials, NotAdmitted, SignInUnavailable and TooManyRequests."""

    async def known(self, token: str, address: str) -> User:
        """The same, of a token alone."""


class Everybody:
    """Who may use a studio that is open: each machine is one user."""

    async def caller(self, connection: HTTPConnection) -> User | None:
        return self._at(address(connection))

    async def known(self, token: str, address: str) -> User:
        return self._at(address)

    def _at(self, address: str) -> User:
        return User(id=f"at:{address}", is_administrator=True)


class SignedIn:
    """A token comes before the session's cookie: whoever sends one means it."""

    def __init__(self, authority: Remembered, sessions: Sessions, policy: Policy) -> None:
        self.authority, self.sessions, self.policy = authority, sessions, policy
        self._guesses = Minute(GUESSES)

    async def caller(self, connection: HTTPConnection) -> User | None:
        token = token_in(connection)
        if token is not None:
            return await self.known(token, address(connection))
        identity = self.sessions.identity(connection.cookies.get(COOKIE, ""))
        try:
            return self.policy.user(identity) if identity and self.authority.has(identity) else None
        except NotAdmitted:
            return None

    async def known(self, token: str, address: str) -> User:
        if not self.authority.is_guess(token):
            return self.policy.user(await self.authority.identify(token))
        self._guesses.check(address)
        try:
            return self.policy.user(await self.authority.identify(token))
        except BadCredentials:
            self._guesses.count(address)
            raise


def token_in(connection: HTTPConnection) -> str | None:
    """From `Authorization: Bearer`, from what gradio_client sends, or from the password of `Authorization: Basic`.

    Some clients send the header empty when they have nothing to say. Raises BadCredentials.
    """
    for name in ("authorization", "x-hf-authorization"):
        scheme, _, value = connection.headers.get(name, "").strip().partition(" ")
        if scheme.lower() == "bearer" and value.strip():
            return value.strip()
        if scheme.lower() == "basic" and connection.url.path.startswith(BASIC):
            return password(value)
    return None


def meant_token(connection: HTTPConnection) -> bool:
    """Whether a program sent one. A password is sent by a browser too, whatever page makes it ask."""
    is_password = connection.headers.get("authorization", "").strip().lower().startswith("basic")
    return not is_password and token_in(connection) is not None


def password(encoded: str) -> str:
    try:
        name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise BadCredentials(what="a name and a token") from None
    return secret or name


def address(connection: HTTPConnection) -> str:
    """Of the client. All names of this machine are one."""
    host = connection.client.host if connection.client else ""
    try:
        return "here" if ipaddress.ip_address(host).is_loopback else host
    except ValueError:
        return host


def same(secret: str, other: str) -> bool:
    return hmac.compare_digest(secret.encode(), other.encode())
