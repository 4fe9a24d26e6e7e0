"""The OpenID provider of the stand-in, as at Hugging Face: OpenID Connect with authorization code and PKCE.

The authorization page lets a person choose a user.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import threading
import time
from collections.abc import Sequence
from functools import cache
from html import escape
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.hub import response_bodies
from tests.hub.request_handler import HubError, RequestHandler
from tests.hub.state import Grant

CLIENT_ID, CLIENT_SECRET = "studio-client", "studio-secret"
# Lifetimes of tokens in seconds, as reported. Access tokens stay valid until they are revoked.
ACCESS_TOKEN, ID_TOKEN = 8 * 3600, 3600

PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Stand-in Hub</title></head>
<body><main>{content}</main></body>
</html>
"""
_making_key = threading.Lock()


class TokenRefused(Exception):
    """A refused token request. `error` is one of RFC 6749, section 5.2."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error, self.status = error, status


class OpenIdRequestHandler(RequestHandler):
    def configuration(self) -> None:
        url = self.state.url
        self.send_json(
            {
                "issuer": url,
                "authorization_endpoint": f"{url}/oauth/authorize",
                "token_endpoint": f"{url}/oauth/token",
                "userinfo_endpoint": f"{url}/oauth/userinfo",
                "jwks_uri": f"{url}/oauth/jwks",
                "scopes_supported": ["openid", "profile"],
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "code_challenge_methods_supported": ["S256"],
            }
        )

    def keys(self) -> None:
        self.send_json({"keys": [signing_key().as_dict(private=False)]})

    def authorize(self) -> None:
        """Shows the choice of users, or if one is chosen, redirects to the client with a code."""
        params, users = fields(self.current_request.query), list(self.state.users.values())
        if problem := find_problem(params):
            self.page(f"<h1>This cannot be</h1><p>{escape(problem)}</p>", 400)
        elif params.get("user") not in users:
            self.page(render_user_choice(params, list(dict.fromkeys(users))))
        else:
            code = secrets.token_urlsafe(16)
            self.state.grants[code] = Grant(
                params["user"], params["redirect_uri"], params["code_challenge"], params["scope"], params.get("nonce")
            )
            self.send_json({}, 302, {"Location": build_callback_url(params, code=code)})

    def token(self) -> None:
        try:
            self.send_json(self.exchange(fields(self.current_request.body)), 200, {"Cache-Control": "no-store"})
        except TokenRefused as refused:
            headers = {"WWW-Authenticate": "Basic"} if refused.status == 401 else {}
            self.send_json({"error": refused.error, "error_description": str(refused)}, refused.status, headers)

    def exchange(self, form: dict[str, str]) -> dict[str, Any]:
        """Exchanges a code for tokens. The code is invalid afterwards, even if the exchange is refused."""
        if client(self.current_request.authorization, form) != (CLIENT_ID, CLIENT_SECRET):
            raise TokenRefused("invalid_client", "This is not the client, or not its secret.", 401)
        if form.get("grant_type") != "authorization_code":
            raise TokenRefused("unsupported_grant_type", "Only codes are exchanged here.")
        grant = self.state.grants.pop(form.get("code", ""), None)
        if grant is None:
            raise TokenRefused("invalid_grant", "There is no such code, or it was used.")
        if form.get("redirect_uri") != grant.redirect_uri:
            raise TokenRefused("invalid_grant", "redirect_uri is not the one that the code was sent to.")
        if challenge(form.get("code_verifier", "")) != grant.challenge:
            raise TokenRefused("invalid_grant", "code_verifier does not fit the challenge.")
        access_token = f"hf_oauth_{secrets.token_urlsafe(16)}"
        self.state.users[access_token] = grant.user
        return {
            "access_token": access_token,
            "token_type": "bearer",
            "expires_in": ACCESS_TOKEN,
            "scope": grant.scope,
            "id_token": self.id_token(grant),
        }

    def id_token(self, grant: Grant) -> str:
        now, key = int(time.time()), signing_key()
        times = {"iat": now, "exp": now + ID_TOKEN}
        nonce = {} if grant.nonce is None else {"nonce": grant.nonce}
        claims = {"iss": self.state.url, "aud": CLIENT_ID, **times, **nonce, **self.claims(grant.user)}
        return jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)

    def userinfo(self) -> None:
        if self.user is None:
            raise HubError(401, "", "A token is required.", {"WWW-Authenticate": "Bearer"})
        self.send_json(self.claims(self.user))

    def claims(self, user: str) -> dict[str, Any]:
        return response_bodies.claims(user, self.organisations(user), self.state.url)

    def organisations(self, user: str) -> Sequence[str]:
        return self.state.organisations.get(user, ())

    def page(self, content: str, status: int = 200) -> None:
        self.send_text(PAGE.format(content=content), "text/html; charset=utf-8", status)


def fields(form: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(form).items()}


def find_problem(params: dict[str, str]) -> str | None:
    """Returns the reason for which the client gets no code, or None."""
    is_so = {
        f"There is no client {params.get('client_id')}.": params.get("client_id") == CLIENT_ID,
        "redirect_uri is missing.": "redirect_uri" in params,
        "response_type must be code.": params.get("response_type") == "code",
        "scope must contain openid.": "openid" in params.get("scope", "").split(),
        "code_challenge is missing.": "code_challenge" in params,
        "code_challenge_method must be S256.": params.get("code_challenge_method") == "S256",
    }
    return next((problem for problem, right in is_so.items() if not right), None)


def render_user_choice(params: dict[str, str], users: list[str]) -> str:
    choices = {user: f"?{urlencode(params | {'user': user})}" for user in users}
    choices["Deny"] = build_callback_url(params, error="access_denied", error_description="The user denied the request")
    links = [f'<li><a href="{escape(address)}">{escape(name)}</a></li>' for name, address in choices.items()]
    return f"<h1>Sign in as</h1><ul>{''.join(links)}</ul>"


def build_callback_url(params: dict[str, str], **result: str) -> str:
    """Returns the client's redirect address with the result in its query."""
    uri = params["redirect_uri"]
    state = {"state": params["state"]} if "state" in params else {}
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(result | state)}"


def client(authorization: str, form: dict[str, str]) -> tuple[str, str]:
    """Returns the client's id and secret, from the header or from the form."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        client_id, _, secret = base64.b64decode(encoded).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise TokenRefused("invalid_client", "The Authorization header is damaged.", 401) from None
    return unquote_plus(client_id), unquote_plus(secret)


def challenge(verifier: str) -> str:
    """Returns the S256 challenge of a verifier."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def signing_key() -> RSAKey:
    """Returns the signing key, which is created once per process."""
    with _making_key:
        return _new_key()


@cache
def _new_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "stand-in", "use": "sig", "alg": "RS256"})
