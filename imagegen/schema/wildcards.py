"""Choices in a prompt, with the syntax of AUTOMATIC1111's wildcards and dynamic prompts extensions.

`__name__` stands for a line of the text file of that name, and `__colors*__` for a line of all files whose names fit.
{a|b|c} stands for one of its texts; braces without a bar are plain text. A line or a text may begin with its weight, as
in 3::red, and may have choices of its own. A prompt without choices left has nothing that could be replaced again.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from random import Random
from typing import NamedTuple

from imagegen.errors import InvalidRequest
from imagegen.schema.field_types import MAX_PROMPT_CHARS

WILDCARD_PATTERN = re.compile(r"__(?!_)([\w.*/-]{1,200}?)(?<!_)__")
TOKEN_PATTERN = re.compile(r"\\.|[{}\[\]()|]", re.DOTALL)
CLOSING = {"{": "}", "[": "]", "(": ")"}
WEIGHT_PATTERN = re.compile(r"\s*(\d{1,6}(?:\.\d{1,6})?)::")
# Of the dynamic prompts extension: {2$$a|b} takes several, ${name=…} is a variable.
UNSUPPORTED_PATTERN = re.compile(r"\{[\d\s-]*\$\$|\$\{")
# How often what was chosen may have choices of its own, and how long a prompt may become on the way.
MAX_DEPTH = 10
MAX_CHARS_ON_THE_WAY = 16 * MAX_PROMPT_CHARS

# Returns the lines of the files that a name in a prompt stands for. Raises InvalidRequest.
ReadLines = Callable[[str], Sequence[str]]


class Choice(NamedTuple):
    """A text in braces from `start` to `end`, with the texts that it can stand for."""

    start: int
    end: int
    options: tuple[str, ...]


@dataclass
class OpenBracket:
    character: str
    start: int
    bars: list[int] = field(default_factory=list)


def has_choices(text: str) -> bool:
    """Returns whether a prompt has anything that is replaced."""
    return WILDCARD_PATTERN.search(text) is not None or bool(find_choices(text))


def list_wildcards(text: str) -> list[str]:
    """Returns the names of the wildcards in a prompt."""
    return WILDCARD_PATTERN.findall(text)


def find_choices(text: str) -> list[Choice]:
    """Returns the outermost {a|b|c} of a prompt, from left to right.

    A bar in a square or round bracket inside of the braces is part of its text, as in {[a|b]|c}.
    """
    found: list[Choice] = []
    for choice in scan_choices(text) if "|" in text else ():
        while found and found[-1].start > choice.start:
            found.pop()
        found.append(choice)
    return found


def scan_choices(text: str) -> Iterator[Choice]:
    """Yields all {a|b|c} of a prompt, each when its brace is closed: inner ones come before outer ones."""
    open_brackets: list[OpenBracket] = []
    for match in TOKEN_PATTERN.finditer(text):
        token = match[0]
        if token in CLOSING:
            open_brackets.append(OpenBracket(token, match.start()))
        elif token == "|" and open_brackets:  # noqa: S105 Not a secret.
            open_brackets[-1].bars.append(match.start())
        elif token == "}" and any(each.character == "{" for each in open_brackets):  # noqa: S105 Not a secret.
            unclosed: list[int] = []
            while (bracket := open_brackets.pop()).character != "{":
                unclosed += bracket.bars
            if bars := sorted(bracket.bars + unclosed):
                starts, ends = [bracket.start + 1, *(bar + 1 for bar in bars)], [*bars, match.start()]
                yield Choice(
                    bracket.start, match.end(), tuple(text[a:b].strip() for a, b in zip(starts, ends, strict=True))
                )
        elif open_brackets and token == CLOSING[open_brackets[-1].character]:
            open_brackets.pop()


def replace_choices(text: str, seed: int, read_lines: ReadLines, use: str = "") -> str:
    """Returns a prompt in which all choices have been made. The same seed makes the same ones.

    `use` is what a prompt of its own choices is for, such as "negative_prompt". Raises InvalidRequest for the field
    "prompt", and what `read_lines` raises.
    """
    random = Random(f"{seed} {use}")  # noqa: S311 Not a secret.

    @cache
    def read_options(name: str) -> Options:
        return Options(read_lines(name))

    for name in list_wildcards(text):  # An unknown one is refused whether or not it would be chosen.
        read_options(name)
    for _ in range(MAX_DEPTH):
        if not has_choices(text):
            return text
        if (unsupported := UNSUPPORTED_PATTERN.search(text)) is not None:
            raise InvalidRequest("prompt", f"must not contain {unsupported[0]}: a choice is written {{a|b|c}}")
        text = choose_options(text, random)
        text = WILDCARD_PATTERN.sub(lambda match: read_options(match[1]).choose(random), text)
        if len(text) > MAX_CHARS_ON_THE_WAY:
            break
    if has_choices(text):
        raise InvalidRequest("prompt", f"has wildcards with others inside, more than {MAX_DEPTH} deep or too long")
    return text


def choose_options(text: str, random: Random) -> str:
    """Returns a prompt with one of its texts for each outermost {a|b|c}."""
    parts, end = [], 0
    for choice in find_choices(text):
        parts += [text[end : choice.start], Options(choice.options).choose(random)]
        end = choice.end
    return "".join([*parts, text[end:]])


class Options:
    """Texts, each of which may begin with its weight."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.sums = list(accumulate(map(read_weight, texts)))

    def choose(self, random: Random) -> str:
        """Returns a text without its weight. Python's `random()` gives the same numbers in all its versions."""
        index = bisect(self.sums, random.random() * self.sums[-1])
        text = self.texts[min(index, len(self.texts) - 1)]
        return text[match.end() :] if (match := WEIGHT_PATTERN.match(text)) is not None else text


def read_weight(text: str) -> float:
    match = WEIGHT_PATTERN.match(text)
    return float(match[1]) if match is not None else 1.0
