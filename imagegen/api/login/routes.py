"""Sign-in with a browser: through an OpenID provider, or with a token that the user already has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from imagegen.access.identity import Identity
from imagegen.access.sessions import SESSION_LIFETIME_SECONDS, SessionStore
from imagegen.api.login.pages import render_finish_page, render_login_page
from imagegen.api.login.tickets import TicketStore
from imagegen.api.middleware.authenticators import SESSION_COOKIE, CredentialAuthenticator, get_client_address
from imagegen.errors import ImageGenError, SignInUnavailable
from imagegen.settings import Settings

if TYPE_CHECKING:
    from imagegen.api.login.openid_client import OpenIDClient


class LoginRoutes:
    """The routes under /login, and /logout. `authenticator` is None in an open studio, where nobody signs in."""

    def __init__(
        self, settings: Settings, authenticator: CredentialAuthenticator | None, sessions: SessionStore
    ) -> None:
        self.settings, self.authenticator, self.sessions = settings, authenticator, sessions
        self.openid_client = create_openid_client(settings)
        self.tickets = TicketStore()

    def create_router(self) -> APIRouter:
        router = APIRouter(include_in_schema=False)
        for path, endpoint, methods in (
            ("/login", self.show_login, ["GET"]),
            ("/login/provider", self.start_provider_login, ["GET"]),
            ("/login/callback", self.finish_provider_login, ["GET"]),
            ("/login/token", self.log_in_with_token, ["POST"]),
            ("/login/ticket", self.log_in_with_ticket, ["POST"]),
            ("/logout", self.log_out, ["POST"]),
        ):
            router.add_api_route(path, endpoint, methods=methods)
        return router

    async def show_login(self, request: Request) -> Response:
        if self.authenticator is None or request.state.user is not None:
            return RedirectResponse(get_home_url(request), 303)
        return self.build_login_response(request)

    def build_login_response(self, request: Request, problem: ImageGenError | None = None) -> Response:
        token_hint = self.authenticator.authority.token_hint if self.authenticator else ""
        name = self.provider_name if self.openid_client is not None else None
        problem_text = str(problem) if problem else None
        content = render_login_page(
            get_home_url(request), name, token_hint, problem_text, is_embedded=self.settings.is_on_spaces
        )
        return HTMLResponse(content, problem.status if problem else 200, {"Cache-Control": "no-store"})

    @property
    def provider_name(self) -> str:
        host = urlsplit(self.settings.openid_provider_url).hostname or ""
        return "Hugging Face" if host == "huggingface.co" else host

    async def start_provider_login(self, request: Request) -> Response:
        if self.openid_client is None:
            return RedirectResponse(f"{get_home_url(request)}login", 303)
        public_url = self.settings.public_url
        if public_url is not None and urlsplit(public_url).hostname != request.url.hostname:
            # The provider knows one callback address, and the session cookie must be set on the same host.
            return RedirectResponse(f"{public_url.rstrip('/')}/login/provider?{request.url.query}", 303)
        request.session["window"] = "window" in request.query_params
        try:
            return await self.openid_client.redirect_to_provider(request, self.build_callback_url(request))
        except SignInUnavailable as error:
            return self.build_login_response(request, error)

    def build_callback_url(self, request: Request) -> str:
        base = (self.settings.public_url or str(request.base_url)).rstrip("/")
        return f"{base}/login/callback"

    async def finish_provider_login(self, request: Request) -> Response:
        """Handles the provider's redirect back to the studio."""
        if self.openid_client is None or self.authenticator is None:
            return RedirectResponse(get_home_url(request), 303)
        is_in_window = request.session.get("window", False)
        try:
            identity = await self.openid_client.fetch_identity(request)
            self.authenticator.policy.authorize(identity)
        except ImageGenError as error:
            return self.build_login_response(request, error)
        finally:
            request.session.clear()
        response: Response = RedirectResponse(get_home_url(request), 303)
        if is_in_window:
            response = HTMLResponse(render_finish_page(get_home_url(request), self.tickets.issue(identity)))
        return await self.start_session(request, identity, response)

    async def log_in_with_token(self, request: Request, token: Annotated[str, Form(max_length=5000)] = "") -> Response:
        if self.authenticator is None:
            return RedirectResponse(get_home_url(request), 303)
        try:
            user = await self.authenticator.authenticate_token(token.strip(), get_client_address(request))
            identity = await self.authenticator.authority.identify(token.strip())
        except ImageGenError as error:
            return self.build_login_response(request, error)
        assert user.id == identity.name
        return await self.start_session(request, identity, RedirectResponse(get_home_url(request), 303))

    async def log_in_with_ticket(self, request: Request, ticket: Annotated[str, Form(max_length=100)] = "") -> Response:
        """Starts a session for an embedded page, which does not receive the cookies of the provider's window."""
        identity = self.tickets.redeem(ticket)
        if identity is None:
            return Response(status_code=403)
        return await self.start_session(request, identity, Response(status_code=204))

    async def start_session(self, request: Request, identity: Identity, response: Response) -> Response:
        await self.end_session(request)
        self.set_session_cookie(request, response, await self.sessions.create(identity), SESSION_LIFETIME_SECONDS)
        return response

    async def end_session(self, request: Request) -> None:
        if (session_id := request.cookies.get(SESSION_COOKIE)) is not None:
            await self.sessions.delete(session_id)

    async def log_out(self, request: Request) -> Response:
        await self.end_session(request)
        response = RedirectResponse(get_home_url(request), 303)
        self.set_session_cookie(request, response, "", 0)
        return response

    def set_session_cookie(self, request: Request, response: Response, value: str, seconds: int) -> None:
        """On a Space, the page is in a frame of the Hub: its cookie is a third-party cookie and must be partitioned."""
        is_embedded = self.settings.is_on_spaces
        response.set_cookie(
            SESSION_COOKIE,
            value,
            max_age=seconds,
            httponly=True,
            secure=is_embedded or request.url.scheme == "https",
            samesite="none" if is_embedded else "lax",
        )
        if is_embedded:  # Python supports this attribute from 3.14 on.
            name, cookie = response.raw_headers.pop()
            response.raw_headers.append((name, cookie + b"; Partitioned"))


def create_openid_client(settings: Settings) -> OpenIDClient | None:
    """Returns None if the studio is not registered with an OpenID provider."""
    if settings.access_mode != "hf" or settings.oauth_client_id is None:
        return None
    from imagegen.api.login.openid_client import OpenIDClient  # noqa: PLC0415 Importing authlib is slow.

    return OpenIDClient(settings)


def get_home_url(request: Request) -> str:
    """Returns the path of the page, with the prefix of a proxy if there is one."""
    return f"{request.scope.get('root_path', '')}/"
