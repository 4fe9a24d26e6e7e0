"""Identities, the authorities that look them up by token, and the policy of who may use the studio."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from imagegen.errors import Forbidden
from imagegen.schema.base import User
from imagegen.settings import Settings

# Syntax of a bearer token in RFC 6750. Nothing else is sent to an authority.
TOKEN_PATTERN = re.compile(r"[A-Za-z0-9._~+/-]{1,4096}=*")


@dataclass(frozen=True)
class Identity:
    """A user or program. `name` is unique within one authority.

    `key_digest` is the SHA-256 of the studio's key that identified them, and "" for other credentials.
    """

    name: str
    organisations: frozenset[str] = frozenset()
    is_administrator: bool = False
    key_digest: str = ""


class Authority(Protocol):
    """Identifies users by their tokens.

    `token_hint` describes such a token in error messages; answers may be cached for `cache_seconds`. An authority is
    remote if `identify` sends a network request.
    """

    token_hint: str
    cache_seconds: float
    is_remote: bool

    async def identify(self, token: str) -> Identity:
        """Returns whom the token belongs to. Raises BadCredentials and SignInUnavailable."""

    def is_still_valid(self, identity: Identity) -> bool:
        """Returns whether a session of this identity may continue. Answers without a network request."""


@dataclass(frozen=True)
class AccessPolicy:
    """Who may use the studio, and who may change it for all users. Without users and organisations, everyone may."""

    users: frozenset[str]
    organisations: frozenset[str]
    administrators: frozenset[str]

    @staticmethod
    def from_settings(settings: Settings) -> AccessPolicy:
        """Returns the policy of `allowed_users`, `allowed_organisations` and `administrators`."""
        return AccessPolicy(
            frozenset(settings.allowed_users),
            frozenset(settings.allowed_organisations),
            frozenset(settings.administrators),
        )

    def authorize(self, identity: Identity) -> User:
        """Returns the user of an identity. Raises Forbidden if they may not use the studio."""
        is_administrator = identity.is_administrator or identity.name in self.administrators
        allows_everyone = not self.users and not self.organisations
        if not (
            allows_everyone
            or is_administrator
            or identity.name in self.users
            or identity.organisations & self.organisations
        ):
            raise Forbidden(identity.name)
        return User(id=identity.name, name=identity.name, is_administrator=is_administrator)
