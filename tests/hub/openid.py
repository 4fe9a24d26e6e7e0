"""Signing in with the stand-in, as with Hugging Face: OpenID Connect by code, with PKCE.

Whoever asks for a code sees a page, on which a person says who he is.
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

from tests.hub import bodies
from tests.hub.connection import Connection, Refusal
from tests.hub.state import Grant

CLIENT_ID, CLIENT_SECRET = "studio-client", "studio-secret"
# How long tokens are said to be valid, in seconds. Those for access are, until they are revoked.
ACCESS_TOKEN, ID_TOKEN = 8 * 3600, 3600

PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Stand-in Hub</title></head>
<body><main>{content}</main></body>
</html>
"""
_making_key = threading.Lock()


class TokenRefused(Exception):
    """`error` is one of RFC 6749's, in section 5.2."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error, self.status = error, status


class OpenIdProvider(Connection):
    def configuration(self) -> None:
        url = self.state.url
        self.answer(
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
        self.answer({"keys": [signing_key().as_dict(private=False)]})

    def authorize(self) -> None:
        """Asks who it is, or if that was said, goes back to the client with a code."""
        asked, users = fields(self.asked.query), list(self.state.users.values())
        if problem := problem_with(asked):
            self.page(f"<h1>This cannot be</h1><p>{escape(problem)}</p>", 400)
        elif asked.get("user") not in users:
            self.page(question(asked, list(dict.fromkeys(users))))
        else:
            code = secrets.token_urlsafe(16)
            self.state.grants[code] = Grant(
                asked["user"], asked["redirect_uri"], asked["code_challenge"], asked["scope"], asked.get("nonce")
            )
            self.answer({}, 302, {"Location": way_back(asked, code=code)})

    def token(self) -> None:
        try:
            self.answer(self.exchange(fields(self.asked.body)), 200, {"Cache-Control": "no-store"})
        except TokenRefused as refused:
            headers = {"WWW-Authenticate": "Basic"} if refused.status == 401 else {}
            self.answer({"error": refused.error, "error_description": str(refused)}, refused.status, headers)

    def exchange(self, form: dict[str, str]) -> dict[str, Any]:
        """Tokens for a code, which is worth nothing from then on, even if it is refused."""
        if client(self.asked.authorization, form) != (CLIENT_ID, CLIENT_SECRET):
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
            raise Refusal(401, "", "Whose claims?", {"WWW-Authenticate": "Bearer"})
        self.answer(self.claims(self.user))

    def claims(self, user: str) -> dict[str, Any]:
        return bodies.claims(user, self.organisations(user), self.state.url)

    def organisations(self, user: str) -> Sequence[str]:
        return self.state.organisations.get(user, ())

    def page(self, content: str, status: int = 200) -> None:
        self.send_text(PAGE.format(content=content), "text/html; charset=utf-8", status)


def fields(form: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(form).items()}


def problem_with(asked: dict[str, str]) -> str | None:
    """Why the client gets no code."""
    is_so = {
        f"There is no client {asked.get('client_id')}.": asked.get("client_id") == CLIENT_ID,
        "redirect_uri is missing.": "redirect_uri" in asked,
        "response_type must be code.": asked.get("response_type") == "code",
        "scope must contain openid.": "openid" in asked.get("scope", "").split(),
        "code_challenge is missing.": "code_challenge" in asked,
        "code_challenge_method must be S256.": asked.get("code_challenge_method") == "S256",
    }
    return next((problem for problem, right in is_so.items() if not right), None)


def question(asked: dict[str, str], users: list[str]) -> str:
    choices = {user: f"?{urlencode(asked | {'user': user})}" for user in users}
    choices["Deny"] = way_back(asked, error="access_denied", error_description="The user denied the request")
    links = [f'<li><a href="{escape(address)}">{escape(name)}</a></li>' for name, address in choices.items()]
    return f"<h1>Sign in as</h1><ul>{''.join(links)}</ul>"


def way_back(asked: dict[str, str], **told: str) -> str:
    """Where the client waits, with what it is told."""
    uri = asked["redirect_uri"]
    state = {"state": asked["state"]} if "state" in asked else {}
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(told | state)}"


def client(authorization: str, form: dict[str, str]) -> tuple[str, str]:
    """Its id and secret: from the header, or from the form."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        client_id, _, secret = base64.b64decode(encoded).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise TokenRefused("invalid_client", "The Authorization header is damaged.", 401) from None
    return unquote_plus(client_id), unquote_plus(secret)


def challenge(verifier: str) -> str:
    """That of a verifier, by S256."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def signing_key() -> RSAKey:
    """Made when first needed, once for all hubs of the process."""
    with _making_key:
        return _new_key()


@cache
def _new_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "stand-in", "use": "sig", "alg": "RS256"})
