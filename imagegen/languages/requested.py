"""The language that a browser asks for."""

from __future__ import annotations

from contextlib import suppress

from imagegen.languages.catalogue import ENGLISH, LANGUAGES, Language

# The page sets it when its user chooses a language.
LANGUAGE_COOKIE = "studio_language"


def choose_language(cookie: str | None, accept_language: str) -> Language:
    """Returns the language of the cookie, or the first one of the header Accept-Language that the studio has.

    `cookie` is the value of LANGUAGE_COOKIE. Values that nobody knows are ignored.
    """
    if cookie is not None and cookie in LANGUAGES:
        return LANGUAGES[cookie]
    weighted = [parse_range(part) for part in accept_language.split(",")]
    for weight, code in sorted(weighted, key=lambda each: each[0], reverse=True):
        if weight > 0 and code in LANGUAGES:
            return LANGUAGES[code]
    return ENGLISH


def parse_range(text: str) -> tuple[float, str]:
    """Returns the weight and the language of a part of Accept-Language, such as "de-DE;q=0.8"."""
    tag, _, parameters = text.partition(";")
    weight = 1.0
    if parameters.strip().startswith("q="):
        with suppress(ValueError):
            weight = float(parameters.strip()[2:])
    return weight, tag.strip().partition("-")[0].lower()
