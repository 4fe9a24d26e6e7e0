"""The door of the sign-in pages."""

from __future__ import annotations

from imagegen.access.sessions import SessionStore
from imagegen.api.door import Door
from imagegen.api.gradio.errors import format_gradio_error
from imagegen.api.login.routes import LoginRoutes
from imagegen.api.middleware.authenticators import Authenticator, CredentialAuthenticator
from imagegen.settings import Settings


def create_login_door(settings: Settings, authenticator: Authenticator, sessions: SessionStore) -> Door:
    checked = authenticator if isinstance(authenticator, CredentialAuthenticator) else None
    return Door(
        name="login",
        format_error=format_gradio_error,
        router=LoginRoutes(settings, checked, sessions).create_router(),
        prefixes=("/login", "/logout"),
        text_paths=("/login", "/logout"),
        sign_in="optional",
    )
