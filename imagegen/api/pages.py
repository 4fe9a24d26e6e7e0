"""The pages before the studio's own page."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from string import Template

HERE = Path(__file__).parent
LOGO = HERE.parent.parent / "assets" / "logo.svg"


def sign_in_page(home: str, provider: str | None, tokens: str, problem: str | None, embedded: bool) -> str:
    """`provider` signs users in by itself; `tokens` are what they can type. In a page of another site, the provider's
    page cannot be shown, so that it gets a window of its own.
    """
    with_provider = ""
    if provider is not None:
        with_provider = (
            f'<a class="primary" id="provider" href="{home}login/provider">Sign in with {escape(provider)}</a>'
        )
    field = (
        f'<form method="post" action="{home}login/token"><label for="token">{"or " if provider else ""}with'
        f' {escape(tokens)}</label><span><input id="token" name="token" type="password" autocomplete="current-password"'
        f" required><button>Sign in</button></span></form>"
    )
    said = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    return template("sign_in.html").substitute(
        logo=LOGO.read_text(encoding="utf-8"), problem=said, provider=with_provider, field=field,
        home=json.dumps(home), embedded=json.dumps(embedded),
    )  # fmt: skip


def finish_page(home: str, ticket: str) -> str:
    """Tells the page that opened this window that its user is signed in; only to a page of the studio itself."""
    return template("finish.html").substitute(home=json.dumps(home), ticket=json.dumps(ticket))


def template(name: str) -> Template:
    return Template((HERE / "html" / name).read_text(encoding="utf-8"))
