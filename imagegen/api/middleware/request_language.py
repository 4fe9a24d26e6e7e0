"""Finds the language that a request asks for. The page is translated into it; the APIs answer in English."""

from __future__ import annotations

from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from imagegen.api.middleware.base import Middleware
from imagegen.languages.requested import LANGUAGE_COOKIE, choose_language
from imagegen.languages.translation import use_language


class RequestLanguage(Middleware):
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = HTTPConnection(scope)
        accepted = request.headers.get("accept-language", "")
        with use_language(choose_language(request.cookies.get(LANGUAGE_COOKIE), accepted)):
            await self.app(scope, receive, send)
