"""What all connections of a stand-in share."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.hub.faults import Faults
from tests.hub.shelf import Shelf


class Request(NamedTuple):
    """`authorization` and `range` are the headers, or empty."""

    method: str
    path: str
    query: str
    host: str
    authorization: str
    range: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class State:
    """`users` are names by token. Large files are at `files_url`. `closing` wakes whoever waits in an answer."""

    shelf: Shelf
    users: Mapping[str, str]
    faults: Faults
    files_url: str = ""
    log: list[Request] = field(default_factory=list)
    connections: set[socket.socket] = field(default_factory=set)
    closing: threading.Event = field(default_factory=threading.Event)
