"""The languages, and the catalogue of each: a JSON file with the translation of each English text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent

# A translation. Of a text with a count, the translation for each plural category of CLDR that the language has.
Entry = str | Mapping[str, str]
Catalogue = Mapping[str, Entry]


@dataclass(frozen=True)
class Language:
    """`code` is the name of the catalogue, `tag` the BCP 47 tag for browsers, and `name` what its speakers call it."""

    code: str
    tag: str
    name: str
    decimal_mark: str = "."


# English is the language of the code: its catalogue is empty.
ENGLISH = Language("en", "en", "English")
LANGUAGES: Mapping[str, Language] = {
    language.code: language
    for language in (
        ENGLISH,
        Language("de", "de", "Deutsch", ","),
        Language("es", "es", "Español", ","),
        Language("fr", "fr", "Français", ","),
        Language("pt", "pt-BR", "Português", ","),
        Language("zh", "zh-CN", "简体中文"),
        Language("ja", "ja", "日本語"),
        Language("ko", "ko", "한국어"),
    )
}


@cache
def read_catalogue(language: Language) -> Catalogue:
    """Returns the translations by English text."""
    if language is ENGLISH:
        return {}
    catalogue: Catalogue = json.loads((FOLDER / f"{language.code}.json").read_text(encoding="utf-8"))
    return catalogue
