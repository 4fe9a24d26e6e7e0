"""What was read from a picture, field by field, as HTML. Text from outside is escaped here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from imagegen.languages.messages import translate_message
from imagegen.languages.translation import translate
from imagegen.schema.picture_settings import PictureField, PictureSettings
from imagegen.text import truncate
from ui.components.html import translate_html
from ui.components.picture_html import RECEIPT_LABELS
from ui.messages import get_label

MAX_VALUE_CHARS = 120


def render_picture_settings(read: PictureSettings) -> str:
    """Returns the list of the settings: first those that are missing, then those that differ, then the others."""
    missing, mapped, matched = (
        [each for each in read.fields if each.status == status] for status in ("missing", "mapped", "matched")
    )
    title = translate_html("Read from a picture of {tool}", tool=read.tool)
    close = f'<button type="button" class="remove with-icon" data-close-settings>{translate_html("Close")}</button>'
    return (
        f'<section class="read-settings" aria-label="{title}"><header><h2>{title}</h2>{close}</header>'
        f"{render_group(translate_html('Not here'), missing)}{render_group(translate_html('Different here'), mapped)}"
        f"{render_matched(matched)}</section>"
    )


def render_group(heading: str, fields: Sequence[PictureField]) -> str:
    return f"<h3>{heading}</h3>{render_rows(fields)}" if fields else ""


def render_matched(fields: Sequence[PictureField]) -> str:
    """Returns the settings that are the same, which few want to read."""
    if not fields:
        return ""
    summary = translate_html("The same here: {number}", number=len(fields))
    return f"<details><summary>{summary}</summary>{render_rows(fields)}</details>"


def render_rows(fields: Sequence[PictureField]) -> str:
    return f"<ul>{''.join(render_row(each) for each in fields)}</ul>"


def render_row(field: PictureField) -> str:
    """Returns the name of a setting, its value in the file, the one here if that differs, and the note."""
    name = translate(RECEIPT_LABELS.get(field.field, get_label(field.field))) if field.field else field.source
    found = format_value(field.found)
    value = format_value(field.value)
    is_other = field.status == "mapped" and value != found
    values = f"<s>{escape(found)}</s> <b>{escape(value)}</b>" if is_other else f"<b>{escape(found)}</b>"
    note = f"<small>{escape(translate_message(field.note))}</small>" if field.note else ""
    return f"<li><span>{escape(name)}</span> {values}{note}</li>"


def format_value(value: Any) -> str:
    return truncate(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), MAX_VALUE_CHARS)
