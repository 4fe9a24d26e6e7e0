"""A tool, and what it needs to know about its caller."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcp.types import ContentBlock, TextContent
from pydantic import BaseModel

from imagegen.api.mcp.progress import ProgressReporter
from imagegen.schema.base import User


@dataclass(frozen=True)
class Caller:
    """Who calls a tool. `base_url` is the studio's address as the caller sees it, without a slash at the end."""

    user: User
    base_url: str
    progress: ProgressReporter

    def build_picture_url(self, picture_id: str) -> str:
        return f"{self.base_url}/v1/images/{picture_id}"


@dataclass(frozen=True)
class Tool:
    """One tool. `call` gets an instance of `arguments`, and may raise any ImageGenError.

    `descriptions` replace those of the fields of `arguments`. A tool that only reads changes nothing for anybody.
    """

    name: str
    description: str
    arguments: type[BaseModel]
    call: Callable[[Any, Caller], Awaitable[Sequence[ContentBlock]]]
    only_reads: bool = False
    descriptions: dict[str, str] = field(default_factory=dict)


def build_text(value: object) -> TextContent:
    """Returns a JSON value as text."""
    return TextContent(type="text", text=json.dumps(value, ensure_ascii=False))
