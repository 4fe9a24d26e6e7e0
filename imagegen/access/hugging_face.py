"""Hugging Face as an authority: identifies users by their access tokens."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
from huggingface_hub.constants import ENDPOINT

from imagegen.access.identity import Identity
from imagegen.errors import BadCredentials, SignInUnavailable

REQUEST_TIMEOUT_SECONDS = 5.0


class HuggingFaceAuthority:
    """Calls the Hub's `whoami-v2`. Not through huggingface_hub, whose client would block a thread."""

    token_hint = "a Hugging Face token"  # noqa: S105
    cache_seconds = 60.0
    is_remote = True

    async def identify(self, token: str) -> Identity:
        """Returns the user of a token. Raises BadCredentials, and SignInUnavailable after REQUEST_TIMEOUT_SECONDS."""
        try:
            async with (
                asyncio.timeout(REQUEST_TIMEOUT_SECONDS),
                httpx2.AsyncClient(timeout=REQUEST_TIMEOUT_SECONDS, follow_redirects=True) as client,
            ):
                response = await client.get(f"{ENDPOINT}/api/whoami-v2", headers={"Authorization": f"Bearer {token}"})
            if response.status_code in (401, 403):
                raise BadCredentials(what=self.token_hint)
            return parse_whoami(response.raise_for_status().json())
        except (httpx2.HTTPError, OSError, ValueError, KeyError, TypeError):
            raise SignInUnavailable from None

    def is_still_valid(self, identity: Identity) -> bool:
        """Returns True: without its token, nothing can be checked."""
        return True


def parse_whoami(whoami: dict[str, Any]) -> Identity:
    """Returns the identity in a response of `whoami-v2`. Raises KeyError and TypeError for another response."""
    organisations = frozenset(organisation["name"] for organisation in whoami.get("orgs") or [])
    return Identity(whoami["name"], organisations)
