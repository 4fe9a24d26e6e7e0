"""A door: one API of the studio, with its paths, router, error form and accepted credentials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import APIRouter

from imagegen.errors import ImageGenError

Credential = Literal["bearer", "basic", "cookie"]
# "optional": a request without credentials is accepted and has no user. "none": credentials are not read at all.
SignIn = Literal["required", "optional", "none"]
ErrorBody = dict[str, Any]

DEFAULT_CREDENTIALS: frozenset[Credential] = frozenset({"bearer", "cookie"})


@dataclass(frozen=True)
class Door:
    """An API and what the middleware must know of it.

    `prefixes` match whole path segments: "/v1" matches "/v1" and "/v1/jobs", and not "/v10". `paths` and `socket_path`
    match exactly. Requests of a door without a router go to the Gradio page. Bodies for routes below `text_paths` have
    no pictures, and a smaller limit. Files below `immutable_prefixes` have a hash of their content in their names:
    browsers keep them without asking again.
    """

    name: str
    format_error: Callable[[ImageGenError], ErrorBody]
    router: APIRouter | None = None
    prefixes: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    socket_path: str | None = None
    text_paths: tuple[str, ...] = ()
    immutable_prefixes: tuple[str, ...] = ()
    credentials: frozenset[Credential] = DEFAULT_CREDENTIALS
    sign_in: SignIn = "required"

    def match(self, path: str) -> int:
        """Returns the length of the longest pattern that matches the path, and 0 if none does.

        An exact match counts one more, so that it precedes an equal prefix of another door.
        """
        if path in self.paths or path == self.socket_path:
            return len(path) + 1
        return max((len(prefix) for prefix in self.prefixes if has_prefix(path, prefix)), default=0)


def has_prefix(path: str, prefix: str) -> bool:
    """Whether the first segments of the path are those of the prefix; "/" is a prefix of every path."""
    return path == prefix or path.startswith(f"{prefix.rstrip('/')}/")


def find_door(doors: Sequence[Door], path: str) -> Door:
    """Returns the door whose pattern matches the path most closely. One door must have the prefix "/".

    A request target that is no path, such as "*" or "http://host/", is for the door of "/".
    """
    matched_path = path if path.startswith("/") else "/"
    return max(doors, key=lambda door: door.match(matched_path))
