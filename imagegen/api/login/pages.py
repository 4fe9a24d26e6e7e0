"""Renders the pages of the sign-in."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from string import Template

from imagegen.languages.messages import translate_message
from imagegen.languages.translation import get_language, translate

HTML_DIR = Path(__file__).parent / "html"
LOGO_PATH = Path(__file__).parents[3] / "assets" / "logo.svg"


def render_login_page(
    home_url: str, provider: str | None, token_hint: str, problem: str | None, is_embedded: bool
) -> str:
    """Returns the sign-in page, with a button for the OpenID provider if there is one, and a form for a token.

    `token_hint` describes the tokens that are accepted; `problem` is why the last attempt failed. With `is_embedded`
    the page is in a frame of another website, where the provider's page cannot be shown, so that it opens a window.
    """
    provider_html = ""
    if provider is not None:
        provider_html = (
            f'<a class="primary" id="provider" href="{home_url}login/provider">'
            f"{escape(translate('Sign in with {provider}', provider=provider))}</a>"
        )
    hint = translate_message(token_hint)
    label = translate("or with {token}", token=hint) if provider else translate("with {token}", token=hint)
    token_form_html = (
        f'<form method="post" action="{home_url}login/token"><label for="token">{escape(label)}</label>'
        '<span><input id="token" name="token" type="password" autocomplete="current-password" required>'
        f"<button>{escape(translate('Sign in'))}</button></span></form>"
    )
    problem_html = f'<p class="problem" role="alert">{escape(translate_message(problem))}</p>' if problem else ""
    return load_template("sign_in.html").substitute(
        logo=LOGO_PATH.read_text(encoding="utf-8"), problem=problem_html, provider=provider_html, field=token_form_html,
        home=json.dumps(home_url), embedded=json.dumps(is_embedded), language=get_language().tag,
        title=escape(translate("Sign in")),
        purpose=escape(translate("Sign in to generate pictures. Other users cannot see your pictures.")),
        failure=json.dumps(translate("Signing in did not succeed. Try again.")),
    )  # fmt: skip


def render_finish_page(home_url: str, ticket: str) -> str:
    """Returns a page that sends the ticket to the window that opened it, if that window shows the studio."""
    return load_template("finish.html").substitute(
        home=json.dumps(home_url), ticket=json.dumps(ticket), language=get_language().tag,
        title=escape(translate("Signed in")), done=escape(translate("You are signed in. You can close this window.")),
        go_on=escape(translate("Continue here")),
    )  # fmt: skip


def load_template(name: str) -> Template:
    return Template((HTML_DIR / name).read_text(encoding="utf-8"))
