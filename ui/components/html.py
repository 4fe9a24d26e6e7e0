"""HTML on the page."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from imagegen.languages.translation import translate


def translate_html(text: str, **values: object) -> str:
    """Returns a text in the language of the request, escaped."""
    return escape(translate(text, **values))


def create_html(value: str, **options: Any) -> gr.HTML:
    return gr.HTML(value, js_on_load=None, apply_default_css=False, **options)
