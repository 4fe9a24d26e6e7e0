"""Translates whole messages: errors and events, which the APIs give in English, with their values in the text.

A message is compared with the texts of the catalogue. The one that it was made from gives its values.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from imagegen.languages.catalogue import ENGLISH, Language, read_catalogue
from imagegen.languages.translation import PLACEHOLDER, fill_in, get_language, translate

# The values that are messages themselves.
NESTED = ("problem", "reason", "advice", "action", "what")
# Such as "width: must be a number", and "loras: neon is there twice".
NAMED_PROBLEM = re.compile(r"(?s)([\w.:\[\]-]+): (.+)")
# What a problem begins with that is no sentence of its own: its field belongs before it.
PREDICATE = re.compile(r"(must|is|needs|cannot|has|should) ")
# A text with fewer letters of its own, such as "{size} of {limit}", could be a part of any message.
MIN_LETTERS = 6


def translate_message(message: str) -> str:
    """Returns a message in the language of the request. It stays English if the catalogue has no text for it."""
    return match_message(message, get_language())[1]


def describe_field_problem(label: str, problem: str) -> str:
    """Returns a sentence about a problem of a field, in the language of the request. The label is in it already."""
    translated = translate_message(problem)
    if get_language() is ENGLISH or PREDICATE.match(problem):
        return join_predicate(label, translated)
    return translate("{label}: {problem}.", label=label, problem=translated)


def join_predicate(label: str, problem: str) -> str:
    return translate("{label} {problem}.", label=label, problem=problem)


@lru_cache(maxsize=1000)
def match_message(message: str, language: Language) -> tuple[int, str]:
    """Returns how many letters of a message are of texts in the catalogue, and its translation.

    Of several texts that it may come from, that with the most letters is taken.
    """
    if language is ENGLISH:
        return 0, message
    entry = read_catalogue(language).get(message)
    if isinstance(entry, str):
        return len(message), entry
    matches = [(template, template.pattern.fullmatch(message)) for template in list_templates(language)]
    found = [fill_in_match(template, match, language) for template, match in matches if match]
    if found:
        return max(found, key=lambda each: each[0])
    if match := NAMED_PROBLEM.fullmatch(message):
        letters, problem = match_message(match[2], language)
        is_predicate = PREDICATE.match(match[2])
        return letters, join_predicate(match[1], problem) if is_predicate else f"{match[1]}: {problem}"
    return 0, message


@dataclass(frozen=True)
class Template:
    """A text with values: the number of its own letters, what its messages look like, and its translation."""

    letters: int
    pattern: re.Pattern[str]
    translation: str


def fill_in_match(template: Template, match: re.Match[str], language: Language) -> tuple[int, str]:
    values = match.groupdict()
    nested = {name: match_message(values[name], language) for name in NESTED if name in values}
    letters = template.letters + sum(letters for letters, _ in nested.values())
    return letters, fill_in(template.translation, values | {name: text for name, (_, text) in nested.items()})


@cache
def list_templates(language: Language) -> Sequence[Template]:
    return [
        Template(count_letters(text), compile_template(text), entry)
        for text, entry in read_catalogue(language).items()
        if isinstance(entry, str) and PLACEHOLDER.search(text) and count_letters(text) >= MIN_LETTERS
    ]


def count_letters(text: str) -> int:
    return sum(map(str.isalpha, PLACEHOLDER.sub("", text)))


def compile_template(text: str) -> re.Pattern[str]:
    """Returns a pattern with a group for each value of a text."""
    parts, known = [], set[str]()
    for index, part in enumerate(PLACEHOLDER.split(text)):
        if index % 2 == 0:
            parts.append(re.escape(part))
        else:
            parts.append(f"(?P={part})" if part in known else f"(?P<{part}>.+?)")
            known.add(part)
    return re.compile("".join(parts), re.DOTALL)
