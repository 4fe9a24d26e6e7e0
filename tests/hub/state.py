"""What all connections of a stand-in share."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.hub.faults import Faults
from tests.hub.shelf import Shelf


class Request(NamedTuple):
    """`authorization` and `range` are the headers, or empty. So is `body`, which only a form has."""

    method: str
    path: str
    query: str
    host: str
    authorization: str
    range: str
    body: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Grant(NamedTuple):
    """What a code stands for: that `user` let a client know who he is. The last four are as the client asked."""

    user: str
    redirect_uri: str
    challenge: str
    scope: str
    nonce: str | None


@dataclass
class State:
    """`users` are names by token, and `organisations` what these belong to; tokens that were `revoked` stay in there.

    Large files are at `files_url`. `grants` are by code. `closing` wakes whoever waits in an answer.
    """

    shelf: Shelf
    users: dict[str, str]
    organisations: Mapping[str, Sequence[str]]
    faults: Faults
    url: str = ""
    files_url: str = ""
    revoked: set[str] = field(default_factory=set)
    grants: dict[str, Grant] = field(default_factory=dict)
    log: list[Request] = field(default_factory=list)
    connections: set[socket.socket] = field(default_factory=set)
    closing: threading.Event = field(default_factory=threading.Event)
