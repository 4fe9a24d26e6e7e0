"""Signing in with a browser: by an OpenID provider, or by a token that the user has already."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from imagegen.access.identity import Identity
from imagegen.access.sessions import LIFETIME, Sessions
from imagegen.api.callers import COOKIE, SignedIn, address
from imagegen.api.errors import NotSignedIn, status_of
from imagegen.api.pages import finish_page, sign_in_page
from imagegen.errors import ImageGenError, SignInUnavailable
from imagegen.settings import Settings

if TYPE_CHECKING:
    from imagegen.api.provider import Provider

TICKET_SECONDS = 60


class SigningIn:
    """Routes under /login, and /logout. In a studio that is open, `callers` is None, and there is nobody to sign in."""

    def __init__(self, settings: Settings, callers: SignedIn | None, sessions: Sessions) -> None:
        self.settings, self.callers, self.sessions = settings, callers, sessions
        self.provider = provider(settings)
        # Sessions that a window of its own began, for the page inside another that opened it.
        self._tickets: dict[str, tuple[Identity, float]] = {}
        self.router = APIRouter(include_in_schema=False)
        for path, endpoint, methods in (
            ("/login", self.page, ["GET"]),
            ("/login/provider", self.to_provider, ["GET"]),
            ("/login/callback", self.callback, ["GET"]),
            ("/login/token", self.with_token, ["POST"]),
            ("/login/ticket", self.with_ticket, ["POST"]),
            ("/logout", self.out, ["POST"]),
        ):
            self.router.add_api_route(path, endpoint, methods=methods)

    async def page(self, request: Request) -> Response:
        if self.callers is None or request.state.user is not None:
            return RedirectResponse(home(request), 303)
        return self.shown(request)

    def shown(self, request: Request, problem: str | None = None, status: int = 200) -> Response:
        tokens = self.callers.authority.tokens if self.callers else ""
        name = self.provider_name if self.provider is not None else None
        content = sign_in_page(home(request), name, tokens, problem, self.settings.is_at_hugging_face)
        return HTMLResponse(content, status, {"Cache-Control": "no-store"})

    @property
    def provider_name(self) -> str:
        host = urlsplit(self.settings.openid_provider_url).hostname or ""
        return "Hugging Face" if host == "huggingface.co" else host

    async def to_provider(self, request: Request) -> Response:
        if self.provider is None:
            return RedirectResponse(f"{home(request)}login", 303)
        public = self.settings.public_url
        if public is not None and urlsplit(public).hostname != request.url.hostname:
            # The provider sends users back to the one address that it knows, so that they must begin there.
            return RedirectResponse(f"{public.rstrip('/')}/login/provider?{request.url.query}", 303)
        request.session["window"] = "window" in request.query_params
        try:
            return await self.provider.redirect(request, self.callback_url(request))
        except SignInUnavailable as error:
            return self.shown(request, str(error), status_of(error))

    def callback_url(self, request: Request) -> str:
        base = (self.settings.public_url or str(request.base_url)).rstrip("/")
        return f"{base}/login/callback"

    async def callback(self, request: Request) -> Response:
        """Where the provider sends the browser back to."""
        if self.provider is None or self.callers is None:
            return RedirectResponse(home(request), 303)
        in_window = request.session.get("window", False)
        try:
            identity = await self.provider.identity(request)
            self.callers.policy.user(identity)
        except NotSignedIn as error:
            return self.shown(request, str(error), 400)
        except ImageGenError as error:
            return self.shown(request, str(error), status_of(error))
        finally:
            request.session.clear()
        answer: Response = RedirectResponse(home(request), 303)
        if in_window:
            answer = HTMLResponse(finish_page(home(request), self.ticket(identity)))
        return self.begin(request, identity, answer)

    async def with_token(self, request: Request, token: Annotated[str, Form(max_length=5000)] = "") -> Response:
        if self.callers is None:
            return RedirectResponse(home(request), 303)
        try:
            user = await self.callers.known(token.strip(), address(request))
            identity = await self.callers.authority.identify(token.strip())
        except ImageGenError as error:
            return self.shown(request, str(error), status_of(error))
        assert user.id == identity.name
        return self.begin(request, identity, RedirectResponse(home(request), 303))

    def ticket(self, identity: Identity) -> str:
        now = time.monotonic()
        self._tickets = {ticket: held for ticket, held in self._tickets.items() if held[1] > now}
        ticket = secrets.token_urlsafe(32)
        self._tickets[ticket] = (identity, now + TICKET_SECONDS)
        return ticket

    async def with_ticket(self, request: Request, ticket: Annotated[str, Form(max_length=100)] = "") -> Response:
        """Gives the page inside another a session of its own: it does not get the cookies of the window's."""
        identity, until = self._tickets.pop(ticket, (None, 0.0))
        if identity is None or time.monotonic() > until:
            return Response(status_code=403)
        return self.begin(request, identity, Response(status_code=204))

    def begin(self, request: Request, identity: Identity, answer: Response) -> Response:
        self.end(request)
        self.set_cookie(request, answer, self.sessions.begin(identity), LIFETIME)
        return answer

    def end(self, request: Request) -> None:
        if (session_id := request.cookies.get(COOKIE)) is not None:
            self.sessions.end(session_id)

    async def out(self, request: Request) -> Response:
        self.end(request)
        answer = RedirectResponse(home(request), 303)
        self.set_cookie(request, answer, "", 0)
        return answer

    def set_cookie(self, request: Request, answer: Response, value: str, seconds: int) -> None:
        """Inside a page of the Hub, a cookie is another site's, and is kept apart for that page."""
        inside = self.settings.is_at_hugging_face
        answer.set_cookie(
            COOKIE,
            value,
            max_age=seconds,
            httponly=True,
            secure=inside or request.url.scheme == "https",
            samesite="none" if inside else "lax",
        )
        if inside:  # Python knows this attribute from 3.14 on.
            name, cookie = answer.raw_headers.pop()
            answer.raw_headers.append((name, cookie + b"; Partitioned"))


def provider(settings: Settings) -> Provider | None:
    """None where the studio is not registered with any."""
    if settings.mode != "hf" or settings.oauth_client_id is None:
        return None
    from imagegen.api.provider import Provider  # noqa: PLC0415 What it brings takes long, and few studios need it.

    return Provider(settings)


def home(request: Request) -> str:
    """Where the page is, behind whatever prefix a proxy serves it."""
    return f"{request.scope.get('root_path', '')}/"
