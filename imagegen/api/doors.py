"""Builds the gate and what is behind it, from the settings."""

from __future__ import annotations

import secrets
from pathlib import Path

import fastapi_offline
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.types import ASGIApp

from imagegen.access.identity import Authority, Policy
from imagegen.access.keys import Keys, keys_file
from imagegen.access.openid import authority_behind
from imagegen.access.remembered import Remembered
from imagegen.access.sessions import Sessions, session_secret
from imagegen.api.a1111.routes import a1111
from imagegen.api.app import new_api
from imagegen.api.callers import Callers, Everybody, SignedIn
from imagegen.api.claims import Files
from imagegen.api.front import Front
from imagegen.api.gate import Gate
from imagegen.api.gradio_gate import GradioGate
from imagegen.api.openai.routes import openai
from imagegen.api.rest import rest
from imagegen.api.signing_in import SigningIn
from imagegen.api.socket import Sockets
from imagegen.api.stock import stock
from imagegen.service import Service
from imagegen.settings import Settings

# How long somebody may take to sign in at the provider's.
SIGN_IN_SECONDS = 600


class Doors:
    """`inside` is what the studio's own requests to itself carry, and nobody else knows."""

    def __init__(self, settings: Settings, service: Service) -> None:
        self.settings, self.inside = settings, secrets.token_urlsafe(32)
        secret = session_secret(settings)
        self.sessions = Sessions(settings.data_dir / "sessions.sqlite", secret)
        signed_in = None
        if settings.mode != "open":
            authority: Authority = Keys(keys_file(settings)) if settings.mode == "keys" else authority_behind(settings)
            signed_in = SignedIn(Remembered(authority, secret), self.sessions, Policy.of(settings))
        self.callers: Callers = signed_in or Everybody()
        self.tokens = signed_in.authority.tokens if signed_in else ""
        self.front = Front(settings)
        self.files = Files(service, settings.data_dir.resolve() / "cache")
        routers = [
            rest(service),
            stock(service),
            openai(service),
            a1111(service),
            Sockets(service, self.callers).router(),
            SigningIn(settings, signed_in, self.sessions).router,
        ]
        self.routes = new_api(service, routers, Path(fastapi_offline.__file__).parent / "static")
        # Only for those who are signing in; the session afterwards is on the server.
        self.api: ASGIApp = SessionMiddleware(
            self.routes,
            secret_key=secret.hex(),
            session_cookie="studio_sign_in",
            max_age=SIGN_IN_SECONDS,
            path=f"{self.front.prefix}/login",
            same_site="none" if settings.is_at_hugging_face else "lax",
            https_only=settings.is_at_hugging_face,
        )

    def before(self, page: ASGIApp) -> ASGIApp:
        """The gate with Gradio behind it, and before it what pages of other sites are told that they may."""
        gate = Gate(
            page,
            self.api,
            self.front,
            self.callers,
            GradioGate(self.files),
            self.inside,
            self.tokens,
            embedded=self.settings.is_at_hugging_face,
        )
        if not self.settings.origins:
            return gate
        return CORSMiddleware(
            gate, allow_origins=self.settings.origins, allow_methods=["*"], allow_headers=["*"], allow_credentials=True
        )

    def close(self) -> None:
        self.sessions.close()
