"""The state that all connections of a stand-in share."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.hub.faults import Faults
from tests.hub.repository_store import RepositoryStore


class Request(NamedTuple):
    """A request. `authorization` and `range` are its headers, or empty; `body` is empty except for forms."""

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
    """What a code was issued for: `user`, and the parameters of the client's request."""

    user: str
    redirect_uri: str
    challenge: str
    scope: str
    nonce: str | None


@dataclass
class State:
    """`users` maps tokens to names; `organisations` are by user name. Revoked tokens are also in `revoked`.

    Large files are served at `files_url`. `grants` are by code. `closing` ends responses that wait.
    """

    store: RepositoryStore
    users: dict[str, str]
    organisations: Mapping[str, Sequence[str]]
    faults: Faults
    lists_sizes: bool = True
    url: str = ""
    files_url: str = ""
    revoked: set[str] = field(default_factory=set)
    grants: dict[str, Grant] = field(default_factory=dict)
    log: list[Request] = field(default_factory=list)
    connections: set[socket.socket] = field(default_factory=set)
    closing: threading.Event = field(default_factory=threading.Event)
