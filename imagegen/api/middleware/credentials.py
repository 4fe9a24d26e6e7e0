"""Reads credentials from the headers of a request."""

from __future__ import annotations

import base64
import binascii

from starlette.requests import HTTPConnection

from imagegen.api.door import Credential
from imagegen.errors import BadCredentials

# The second is what gradio_client sends.
TOKEN_HEADERS = ("authorization", "x-hf-authorization")


def read_token(connection: HTTPConnection, credentials: frozenset[Credential]) -> str | None:
    """Returns the bearer token or, where a door accepts "basic", the password; None if neither was sent.

    Some clients send the header without a value when they have no token. Raises BadCredentials.
    """
    for name in TOKEN_HEADERS:
        scheme, _, value = connection.headers.get(name, "").strip().partition(" ")
        if scheme.lower() == "bearer" and "bearer" in credentials and value.strip():
            return value.strip()
        if scheme.lower() == "basic" and "basic" in credentials:
            return decode_basic_password(value)
    return None


def has_explicit_token(connection: HTTPConnection, credentials: frozenset[Credential]) -> bool:
    """Whether a program sent a token. A browser also sends a password, to requests of any page."""
    is_password = connection.headers.get("authorization", "").strip().lower().startswith("basic")
    return not is_password and read_token(connection, credentials) is not None


def decode_basic_password(encoded: str) -> str:
    """Returns the password, and the name if there is no password. Raises BadCredentials."""
    try:
        name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise BadCredentials(what="a name and a token") from None
    return secret or name
