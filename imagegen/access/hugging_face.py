"""Hugging Face, which knows its users by their access tokens."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from imagegen.access.identity import Identity
from imagegen.errors import BadCredentials, SignInUnavailable

PATIENCE = 5.0


class HuggingFace:
    tokens = "a Hugging Face token"

    async def identify(self, token: str) -> Identity:
        """Raises BadCredentials and SignInUnavailable."""
        try:
            async with asyncio.timeout(PATIENCE):
                person = await asyncio.to_thread(HfApi().whoami, token)
        except HfHubHTTPError as error:
            if error.response.status_code in (401, 403):
                raise BadCredentials(what=self.tokens) from None
            raise SignInUnavailable from None
        except (httpx2.HTTPError, OSError, ValueError):
            raise SignInUnavailable from None
        return identity_of(person)


def identity_of(person: dict[str, Any]) -> Identity:
    """From what the Hub tells of one."""
    organisations = frozenset(organisation["name"] for organisation in person.get("orgs") or [])
    return Identity(person["name"], organisations)
