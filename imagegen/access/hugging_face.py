"""Hugging Face, which knows its users by their access tokens."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
from huggingface_hub.constants import ENDPOINT

from imagegen.access.identity import Identity
from imagegen.errors import BadCredentials, SignInUnavailable

PATIENCE = 5.0


class HuggingFace:
    """Asked without its own client, which would keep a thread waiting for longer than anybody here does."""

    tokens = "a Hugging Face token"
    fresh = 60.0

    async def identify(self, token: str) -> Identity:
        """Raises BadCredentials and SignInUnavailable."""
        try:
            async with asyncio.timeout(PATIENCE), httpx2.AsyncClient(timeout=PATIENCE, follow_redirects=True) as web:
                answer = await web.get(f"{ENDPOINT}/api/whoami-v2", headers={"Authorization": f"Bearer {token}"})
            if answer.status_code in (401, 403):
                raise BadCredentials(what=self.tokens)
            return identity_of(answer.raise_for_status().json())
        except (httpx2.HTTPError, OSError, ValueError, KeyError, TypeError):
            raise SignInUnavailable from None

    def has(self, identity: Identity) -> bool:
        return True


def identity_of(person: dict[str, Any]) -> Identity:
    """From what the Hub tells of one."""
    organisations = frozenset(organisation["name"] for organisation in person.get("orgs") or [])
    return Identity(person["name"], organisations)
