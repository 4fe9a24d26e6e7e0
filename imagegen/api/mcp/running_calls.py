"""The calls that run, so that a message or the end of a session can cancel them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import anyio

RequestId = int | str


class Session(NamedTuple):
    """One client of a user. Only its name is known; nothing is kept for it between its requests.

    A session therefore survives a restart of the studio, costs nothing, and needs no limit and no time-out.
    """

    user_id: str
    session_id: str


class RunningCalls:
    """The cancel scope of each running call, by its session and its request id."""

    def __init__(self) -> None:
        self._calls: defaultdict[Session, list[tuple[RequestId, anyio.CancelScope]]] = defaultdict(list)

    @contextmanager
    def register(self, session: Session, request_id: RequestId) -> Iterator[anyio.CancelScope]:
        """Yields a scope in which the call must run."""
        call = (request_id, anyio.CancelScope())
        self._calls[session].append(call)
        try:
            yield call[1]
        finally:
            self._calls[session].remove(call)
            if not self._calls[session]:
                del self._calls[session]

    def cancel(self, session: Session, request_id: RequestId) -> None:
        """Cancels one call; does nothing if it has ended."""
        for each, scope in self._calls.get(session, ()):
            if each == request_id:
                scope.cancel()

    def cancel_all(self, session: Session) -> None:
        """Cancels the calls of a session."""
        for _, scope in self._calls.get(session, ()):
            scope.cancel()
