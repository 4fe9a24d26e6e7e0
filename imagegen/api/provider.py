"""The studio as a client of an OpenID provider, with PKCE. It brings authlib."""

from __future__ import annotations

from typing import Any

from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth
from fastapi import Request
from httpx2 import HTTPError
from joserfc.errors import JoseError
from starlette.responses import Response

from imagegen.access.identity import Identity
from imagegen.access.openid import discovery, identity_of
from imagegen.api.errors import NotSignedIn
from imagegen.errors import SignInUnavailable
from imagegen.settings import Settings

DENIED = "You did not let the studio know who you are."
RETRY = "That did not work out. Please try once more."


class Provider:
    def __init__(self, settings: Settings) -> None:
        secret = settings.oauth_client_secret
        self._client: Any = OAuth().register(
            name="provider",
            client_id=settings.oauth_client_id,
            client_secret=secret.get_secret_value() if secret else None,
            server_metadata_url=discovery(settings.openid_provider_url),
            client_kwargs={"scope": settings.oauth_scopes, "code_challenge_method": "S256"},
        )

    async def redirect(self, request: Request, back: str) -> Response:
        """To where users sign in, who then come `back`. Raises SignInUnavailable."""
        try:
            answer: Response = await self._client.authorize_redirect(request, back)
        except (OAuthError, HTTPError, ValueError, KeyError):
            raise SignInUnavailable from None
        return answer

    async def identity(self, request: Request) -> Identity:
        """Of whoever came back. Raises NotSignedIn and SignInUnavailable."""
        try:
            token: dict[str, Any] = await self._client.authorize_access_token(request)
            claims = token.get("userinfo") or await self._client.userinfo(token=token)
            return identity_of(dict(claims))
        except OAuthError as error:
            raise NotSignedIn(DENIED if error.error == "access_denied" else RETRY) from None
        except (HTTPError, JoseError, ValueError, KeyError):
            raise SignInUnavailable from None
