"""What the tabs that make pictures have in common: where a picture forms, and what can be done with it then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from gradio.blocks import Block

from imagegen.schema import Cancelled, Event, Failed, Picture, Progress, Queued, Result, Started
from imagegen.service import Service
from ui import stage
from ui.forms import Form
from ui.visitors import user_of, while_watched
from ui.wording import STOPPED, describe, message_of

Updates = dict[Block, Any]
SHELF_SIZE = 48


@dataclass(frozen=True)
class Shelf:
    """The pictures that a visitor made since opening the page, newest first, and the one that is looked at."""

    pictures: tuple[Picture, ...] = ()
    index: int = 0

    @property
    def picture(self) -> Picture | None:
        return self.pictures[self.index] if self.pictures else None

    def with_new(self, pictures: tuple[Picture, ...]) -> Shelf:
        return Shelf((pictures + self.pictures)[:SHELF_SIZE])
