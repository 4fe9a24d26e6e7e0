"""Renders an error as a page, for people who open the studio in a browser."""

from __future__ import annotations

from html import escape
from pathlib import Path
from string import Template

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse
from starlette.types import Scope

from imagegen.errors import CrossSiteRequest, ImageGenError, WrongHost

TEMPLATE = Template(Path(__file__).with_name("error_page.html").read_text(encoding="utf-8"))
# Errors of a request that a browser sends when someone opens the studio under an address that is not set up.
ERRORS_OF_ADDRESSES = (CrossSiteRequest, WrongHost)


def wants_error_page(error: ImageGenError, scope: Scope) -> bool:
    """Whether the client shows the response to a person, and the error says how to set the studio up."""
    return isinstance(error, ERRORS_OF_ADDRESSES) and "text/html" in Headers(scope=scope).get("accept", "")


def build_error_page(error: ImageGenError) -> HTMLResponse:
    return HTMLResponse(TEMPLATE.substitute(message=escape(str(error))), error.status, {"Cache-Control": "no-store"})
