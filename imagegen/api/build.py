"""Builds the API and its middleware from the settings."""

from __future__ import annotations

from functools import partial

from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.types import ASGIApp

from imagegen.access.cached_authority import CachedAuthority
from imagegen.access.identity import AccessPolicy, Authority
from imagegen.access.keys import KeyStore, get_keys_path
from imagegen.access.openid import create_authority
from imagegen.access.sessions import SessionStore, get_session_secret
from imagegen.api.app import create_api
from imagegen.api.doors import create_doors
from imagegen.api.middleware.authenticators import Authenticator, CredentialAuthenticator, OpenAuthenticator
from imagegen.api.middleware.base import MiddlewareFactory, compose
from imagegen.api.middleware.body_limits import BodyLimits
from imagegen.api.middleware.connection_limits import ConnectionLimits
from imagegen.api.middleware.error_rendering import ErrorRendering
from imagegen.api.middleware.gateway import Gateway
from imagegen.api.middleware.gradio_errors import GradioErrors
from imagegen.api.middleware.gradio_ownership import FileAccess
from imagegen.api.middleware.gradio_routes import GradioRoutes
from imagegen.api.middleware.gradio_sessions import GradioSessions
from imagegen.api.middleware.http_methods import HttpMethods
from imagegen.api.middleware.json_bodies import JsonBodies
from imagegen.api.middleware.origin_check import OriginCheck
from imagegen.api.middleware.page_scripts import PageScripts
from imagegen.api.middleware.path_prefix import PathPrefix, get_path_prefix
from imagegen.api.middleware.request_guard import RequestGuard
from imagegen.api.middleware.request_language import RequestLanguage
from imagegen.api.middleware.request_limits import InvalidRequestLimits
from imagegen.api.middleware.security_headers import SecurityHeaders
from imagegen.api.middleware.sign_in_check import SignInCheck
from imagegen.api.middleware.sign_in_redirect import SignInRedirect
from imagegen.api.middleware.upload_limits import UploadLimits
from imagegen.service import Service
from imagegen.settings import Settings

# How long a sign-in at the OpenID provider may take.
LOGIN_TIMEOUT_SECONDS = 600
# Response headers that pages of other sites may read, besides those that they always may.
EXPOSED_HEADERS = ("Location", "Retry-After")


class ApiBuilder:
    """Holds what the doors and the middleware share. `routes` is the FastAPI app with all routes."""

    def __init__(self, settings: Settings, service: Service) -> None:
        """Raises InvalidKeysFile, DatabaseTooNew and DatabaseUnusable."""
        self.settings, self.service = settings, service
        self.path_prefix = get_path_prefix(settings)
        secret = get_session_secret(settings)
        self.sessions = SessionStore(settings.data_dir / "sessions.sqlite", secret)
        self.authenticator = create_authenticator(settings, self.sessions, secret)
        self.file_access = FileAccess(service, settings.data_dir.resolve() / "cache")
        self.doors = create_doors(settings, service, self.authenticator, self.sessions, self.file_access)
        self.routes = create_api(self.doors)
        self.api: ASGIApp = SessionMiddleware(
            self.routes,
            secret_key=secret.hex(),
            session_cookie="studio_sign_in",  # Only while a user signs in at the provider.
            max_age=LOGIN_TIMEOUT_SECONDS,
            path=f"{self.path_prefix}/login",
            same_site="none" if settings.is_on_spaces else "lax",
            https_only=settings.is_on_spaces,
        )

    def wrap(self, page: ASGIApp) -> ASGIApp:
        """Returns the API and the Gradio page behind their middleware; a request passes it from top to bottom."""
        sessions = partial(GradioSessions, file_access=self.file_access)
        page = compose(page, [PageScripts, GradioErrors, GradioRoutes, sessions])
        gateway = Gateway(self.doors, self.api, page, self.path_prefix)
        middlewares: list[MiddlewareFactory] = [
            RequestLanguage,
            HttpMethods,
            partial(PathPrefix, prefix=self.path_prefix),
            partial(SecurityHeaders, doors=self.doors, is_embedding_allowed=self.settings.is_on_spaces),
            partial(ErrorRendering, doors=self.doors),
            partial(RequestGuard, settings=self.settings),
            partial(ConnectionLimits, max_per_address=self.settings.connections_per_address),
            SignInRedirect,
            partial(
                OriginCheck,
                doors=self.doors,
                settings=self.settings,
                trusts_tokens=self.settings.access_mode != "open",
            ),
            partial(SignInCheck, doors=self.doors, authenticator=self.authenticator),
            partial(InvalidRequestLimits, service=self.service),
            partial(UploadLimits, settings=self.settings),
            partial(BodyLimits, doors=self.doors, timeout=self.settings.request_timeout),
            JsonBodies,
        ]
        if self.settings.origins:
            middlewares.insert(0, partial(build_cors, origins=self.settings.origins))
        return compose(gateway, middlewares)

    def close(self) -> None:
        self.sessions.close()


def create_authenticator(settings: Settings, sessions: SessionStore, secret: bytes) -> Authenticator:
    if settings.access_mode == "open":
        return OpenAuthenticator()
    authority: Authority = open_keys(settings) if settings.access_mode == "keys" else create_authority(settings)
    return CredentialAuthenticator(CachedAuthority(authority, secret), sessions, AccessPolicy.from_settings(settings))


def open_keys(settings: Settings) -> KeyStore:
    """Returns the keys of the file that the settings name. Raises InvalidKeysFile."""
    keys = KeyStore(get_keys_path(settings))
    keys.check()
    return keys


def build_cors(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    """Adds the headers with which a browser lets pages of the given origins read responses."""
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["*"],
        allow_headers=["*"],
        allow_credentials=True,
        expose_headers=EXPOSED_HEADERS,
    )
