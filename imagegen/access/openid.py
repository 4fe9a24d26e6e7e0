"""An OpenID provider as an authority: identifies users by access tokens that it issued."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2
from huggingface_hub.constants import ENDPOINT
from pydantic import BaseModel

from imagegen.access.hugging_face import REQUEST_TIMEOUT_SECONDS, HuggingFaceAuthority
from imagegen.access.identity import Authority, Identity
from imagegen.errors import BadCredentials, SignInUnavailable
from imagegen.settings import HUGGING_FACE_URL, Settings


class OpenIDAuthority:
    """Reads the user's claims from the provider's userinfo endpoint, with the user's own token."""

    cache_seconds = 60.0
    is_remote = True

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.token_hint = f"an access token of {self.url}"
        self._userinfo_url: str | None = None

    async def identify(self, token: str) -> Identity:
        """Returns the user of an access token. Raises BadCredentials and SignInUnavailable."""
        try:
            async with httpx2.AsyncClient(timeout=REQUEST_TIMEOUT_SECONDS) as client:
                if self._userinfo_url is None:
                    discovery_response = (await client.get(get_discovery_url(self.url))).raise_for_status()
                    self._userinfo_url = discovery_response.json()["userinfo_endpoint"]
                response = await client.get(self._userinfo_url, headers={"Authorization": f"Bearer {token}"})
                if response.status_code in (401, 403):
                    raise BadCredentials(what=self.token_hint)
                return parse_claims(response.raise_for_status().json())
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError):
            raise SignInUnavailable from None

    def is_still_valid(self, identity: Identity) -> bool:
        """Returns True: without its token, nothing can be checked."""
        return True


def get_discovery_url(provider: str) -> str:
    """Returns the address of a provider's discovery document."""
    return f"{provider.rstrip('/')}/.well-known/openid-configuration"


class Organisation(BaseModel):
    """An organisation in Hugging Face's claims."""

    preferred_username: str


class UserClaims(BaseModel):
    """Claims of a user. Organisations are in `orgs` at Hugging Face, and in `groups` at most other providers."""

    sub: str
    preferred_username: str | None = None
    orgs: list[Organisation] | None = None
    groups: list[str] | None = None


def parse_claims(claims: Mapping[str, Any]) -> Identity:
    """Returns the identity in a provider's claims. Raises ValueError if they are not valid claims."""
    parsed = UserClaims.model_validate(claims)
    organisations = {organisation.preferred_username for organisation in parsed.orgs or []}
    return Identity(parsed.preferred_username or parsed.sub, frozenset(organisations | set(parsed.groups or [])))


def create_authority(settings: Settings) -> Authority:
    """Returns the authority of the provider that signs users in, so that one name means the same user everywhere."""
    url = settings.openid_provider_url.rstrip("/")
    return HuggingFaceAuthority() if url in (HUGGING_FACE_URL, ENDPOINT.rstrip("/")) else OpenIDAuthority(url)
