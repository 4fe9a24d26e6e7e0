"""Formats texts for people."""

from __future__ import annotations

import re

from pydantic import ValidationError

# Not the paths of addresses such as https://example.org/a/b.
ABSOLUTE_PATH_PATTERN = re.compile(r"(?<![\w:/.-])/[^\s'\"`,;:()\[\]{}<>/]+(?:/[^\s'\"`,;:()\[\]{}<>/]+)+/?")


def truncate(text: str, limit: int = 60) -> str:
    """Returns the text, cut to at most `limit` characters; a cut text ends with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def format_bytes(size: int) -> str:
    """Returns a number of bytes as text, in units of 10^9, 10^6 or 10^3 bytes."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"


def describe_first_problem(error: ValidationError) -> str:
    """Returns the place and the message of the first problem, such as "0.name: Field required"."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def hide_paths(text: str) -> str:
    """Returns a text in which the last part stands for each absolute path, as in messages of libraries."""
    return ABSOLUTE_PATH_PATTERN.sub(lambda match: match[0].rstrip("/.").rpartition("/")[2], text)
