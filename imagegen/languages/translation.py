"""Translates texts into the language of the current request. The English text is the key, as in gettext."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from imagegen.languages.catalogue import ENGLISH, Language, read_catalogue

# The name of a value in a text, such as {count}.
PLACEHOLDER = re.compile(r"\{(\w+)\}")

_language: ContextVar[Language] = ContextVar("language", default=ENGLISH)


def get_language() -> Language:
    """Returns the language of the current request. It is English where there is none."""
    return _language.get()


def set_language(language: Language) -> None:
    """Sets the language of the current task, and of those that it starts from now on."""
    _language.set(language)


@contextmanager
def use_language(language: Language) -> Iterator[None]:
    token = _language.set(language)
    try:
        yield
    finally:
        _language.reset(token)


def translate(text: str, **values: object) -> str:
    """Returns a text in the language of the request, with the values in place of their names in braces.

    A text without a translation stays English.
    """
    entry = read_catalogue(get_language()).get(text)
    return fill_in(entry if isinstance(entry, str) else text, values)


def mark(text: str) -> str:
    """Returns the text as it is. It marks a text for the catalogues that is translated later."""
    return text


def fill_in(text: str, values: Mapping[str, object]) -> str:
    """Returns a text with values in place of their names. Other braces stay as they are."""
    return PLACEHOLDER.sub(lambda match: str(values.get(match[1], match[0])), text) if values else text


def format_decimal(number: float, digits: int = 1) -> str:
    """Returns a number with this many digits after the decimal mark of the language."""
    return f"{number:.{digits}f}".replace(".", get_language().decimal_mark)
