"""An OpenID provider, which knows its users by the access tokens that it gave out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2
from huggingface_hub.constants import ENDPOINT
from pydantic import BaseModel

from imagegen.access.hugging_face import PATIENCE, HuggingFace
from imagegen.access.identity import Authority, Identity
from imagegen.errors import BadCredentials, SignInUnavailable
from imagegen.settings import HUGGING_FACE, Settings


class OpenIdProvider:
    """Asks for the user's claims with his own token, at the place that the provider's discovery document names."""

    fresh = 60.0

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.tokens = f"an access token of {self.url}"
        self._userinfo: str | None = None

    async def identify(self, token: str) -> Identity:
        """Raises BadCredentials and SignInUnavailable."""
        try:
            async with httpx2.AsyncClient(timeout=PATIENCE) as web:
                if self._userinfo is None:
                    found = (await web.get(discovery(self.url))).raise_for_status()
                    self._userinfo = found.json()["userinfo_endpoint"]
                answer = await web.get(self._userinfo, headers={"Authorization": f"Bearer {token}"})
                if answer.status_code in (401, 403):
                    raise BadCredentials(what=self.tokens)
                return identity_of(answer.raise_for_status().json())
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError):
            raise SignInUnavailable from None

    def has(self, identity: Identity) -> bool:
        return True


def discovery(provider: str) -> str:
    return f"{provider.rstrip('/')}/.well-known/openid-configuration"


class Organisation(BaseModel):
    preferred_username: str


class Claims(BaseModel):
    """What a provider says of a user. Organisations are in `orgs` at Hugging Face, and in `groups` at most others."""

    sub: str
    preferred_username: str | None = None
    orgs: list[Organisation] | None = None
    groups: list[str] | None = None


def identity_of(claims: Mapping[str, Any]) -> Identity:
    """Raises ValueError when these are no claims."""
    said = Claims.model_validate(claims)
    organisations = {organisation.preferred_username for organisation in said.orgs or []}
    return Identity(said.preferred_username or said.sub, frozenset(organisations | set(said.groups or [])))


def authority_behind(settings: Settings) -> Authority:
    """Whoever signs users in also checks their tokens, so that a name means the same person everywhere."""
    url = settings.openid_provider_url.rstrip("/")
    return HuggingFace() if url in (HUGGING_FACE, ENDPOINT.rstrip("/")) else OpenIdProvider(url)
