"""Finds the user of a request: that of a token or a session, or in an open studio that of the client's address."""

from __future__ import annotations

import ipaddress
from typing import Protocol

from starlette.requests import HTTPConnection

from imagegen.access.cached_authority import CachedAuthority
from imagegen.access.identity import AccessPolicy
from imagegen.access.sessions import SessionStore
from imagegen.api.door import Credential
from imagegen.api.middleware.credentials import read_token
from imagegen.errors import BadCredentials, Forbidden
from imagegen.rate_limit import RateLimiter
from imagegen.schema.base import User

# Stands for all addresses of this machine.
LOCAL_ADDRESS = "here"
SESSION_COOKIE = "studio_session"
# Per address. Above it, unknown tokens of that address are refused without asking a remote authority. Keys of the
# studio have no such limit: nobody can guess them, and one wrong client would lock out others behind the same proxy.
MAX_FAILED_TOKENS_PER_MINUTE = 60


class Authenticator(Protocol):
    """`token_hint` describes the tokens that it accepts; it is "" if there are none."""

    token_hint: str

    async def authenticate(self, connection: HTTPConnection, credentials: frozenset[Credential]) -> User | None:
        """Returns the user, and None if the request has none of the accepted credentials.

        Raises BadCredentials, Forbidden, SignInUnavailable and TooManyRequests.
        """

    async def authenticate_token(self, token: str, address: str) -> User:
        """Returns the user of a token that a client at `address` sent. Raises the same."""


class OpenAuthenticator:
    """For a studio without sign-in: each client address is one user."""

    token_hint = ""

    async def authenticate(self, connection: HTTPConnection, credentials: frozenset[Credential]) -> User | None:
        return self._get_user(get_client_address(connection))

    async def authenticate_token(self, token: str, address: str) -> User:
        return self._get_user(address)

    def _get_user(self, address: str) -> User:
        return User(id=f"at:{address}", is_administrator=True)


class CredentialAuthenticator:
    """Reads a token first, and the session cookie only if there is no token."""

    def __init__(self, authority: CachedAuthority, sessions: SessionStore, policy: AccessPolicy) -> None:
        self.authority, self.sessions, self.policy = authority, sessions, policy
        self.token_hint = authority.token_hint
        self._failed_attempts = RateLimiter(MAX_FAILED_TOKENS_PER_MINUTE)

    async def authenticate(self, connection: HTTPConnection, credentials: frozenset[Credential]) -> User | None:
        token = read_token(connection, credentials)
        if token is not None:
            return await self.authenticate_token(token, get_client_address(connection))
        return await self._authenticate_session(connection) if "cookie" in credentials else None

    async def authenticate_token(self, token: str, address: str) -> User:
        if not (self.authority.is_remote and self.authority.is_unknown_token(token)):
            return self.policy.authorize(await self.authority.identify(token))
        self._failed_attempts.check(address)
        try:
            return self.policy.authorize(await self.authority.identify(token))
        except BadCredentials:
            self._failed_attempts.consume(address)
            raise

    async def _authenticate_session(self, connection: HTTPConnection) -> User | None:
        session_id = connection.cookies.get(SESSION_COOKIE)
        identity = await self.sessions.get_identity(session_id) if session_id else None
        try:
            return self.policy.authorize(identity) if identity and self.authority.is_still_valid(identity) else None
        except Forbidden:
            return None


def get_client_address(connection: HTTPConnection) -> str:
    """Returns the client's IP address, and "here" for all addresses of this machine."""
    host = connection.client.host if connection.client else ""
    try:
        return LOCAL_ADDRESS if ipaddress.ip_address(host).is_loopback else host
    except ValueError:
        return host
