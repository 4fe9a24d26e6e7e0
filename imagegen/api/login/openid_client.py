"""The studio as a client of an OpenID provider, with PKCE. This module imports authlib."""

from __future__ import annotations

from typing import Any

from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth
from fastapi import Request
from httpx2 import HTTPError
from joserfc.errors import JoseError
from starlette.responses import Response

from imagegen.access.identity import Identity
from imagegen.access.openid import get_discovery_url, parse_claims
from imagegen.errors import LoginFailed, SignInUnavailable
from imagegen.languages.translation import mark
from imagegen.settings import Settings

LOGIN_DENIED = mark("You did not allow the studio to read your account name. Please sign in again and allow it.")
LOGIN_RETRY = mark("The sign-in failed. Please try again.")


class OpenIDClient:
    def __init__(self, settings: Settings) -> None:
        secret = settings.oauth_client_secret
        self._client: Any = OAuth().register(
            name="provider",
            client_id=settings.oauth_client_id,
            client_secret=secret.get_secret_value() if secret else None,
            server_metadata_url=get_discovery_url(settings.openid_provider_url),
            client_kwargs={"scope": settings.oauth_scopes, "code_challenge_method": "S256"},
        )

    async def redirect_to_provider(self, request: Request, callback_url: str) -> Response:
        """Returns a redirect to the provider, which sends the browser to `callback_url` after the sign-in.

        Raises SignInUnavailable.
        """
        try:
            response: Response = await self._client.authorize_redirect(request, callback_url)
        except (OAuthError, HTTPError, ValueError, KeyError):
            raise SignInUnavailable from None
        return response

    async def fetch_identity(self, request: Request) -> Identity:
        """Returns who signed in, from the provider's callback request. Raises LoginFailed and SignInUnavailable."""
        try:
            token: dict[str, Any] = await self._client.authorize_access_token(request)
            claims = token.get("userinfo") or await self._client.userinfo(token=token)
            return parse_claims(dict(claims))
        except OAuthError as error:
            raise LoginFailed(LOGIN_DENIED if error.error == "access_denied" else LOGIN_RETRY) from None
        except (HTTPError, JoseError, ValueError, KeyError):
            raise SignInUnavailable from None
