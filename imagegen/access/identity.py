"""Whom a token belongs to, who is let in, and who finds that out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from imagegen.errors import NotAdmitted
from imagegen.schema import User
from imagegen.settings import Settings

# What may stand in a header as a bearer token, by RFC 6750. Anything else is asked about nowhere.
TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,4096}=*")


@dataclass(frozen=True)
class Identity:
    """`name` is unique among all that one authority knows."""

    name: str
    organisations: frozenset[str] = frozenset()
    is_administrator: bool = False


class Authority(Protocol):
    """Knows users by their tokens. `tokens` is what it calls these, and `fresh` how many seconds an answer holds."""

    tokens: str
    fresh: float

    async def identify(self, token: str) -> Identity:
        """Raises BadCredentials and SignInUnavailable."""

    def has(self, identity: Identity) -> bool:
        """Whether one who signed in before may go on, as far as can be told without asking anybody."""


@dataclass(frozen=True)
class Policy:
    """Who may use the studio, and who may do what changes it for all others."""

    users: frozenset[str]
    organisations: frozenset[str]
    administrators: frozenset[str]

    @staticmethod
    def of(settings: Settings) -> Policy:
        return Policy(
            frozenset(settings.allowed_users),
            frozenset(settings.allowed_organisations),
            frozenset(settings.administrators),
        )

    def user(self, identity: Identity) -> User:
        """Raises NotAdmitted."""
        is_administrator = identity.is_administrator or identity.name in self.administrators
        everybody = not self.users and not self.organisations
        if not (
            everybody or is_administrator or identity.name in self.users or identity.organisations & self.organisations
        ):
            raise NotAdmitted(identity.name)
        return User(id=identity.name, name=identity.name, is_administrator=is_administrator)
