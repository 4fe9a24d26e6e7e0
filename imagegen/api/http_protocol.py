"""uvicorn's HTTP protocol with limits on clients that open connections and send no request, or send one slowly."""

from __future__ import annotations

import asyncio
import time
from typing import Any, TypeGuard

from uvicorn import config as uvicorn_config
from uvicorn.protocols.http.h11_impl import H11Protocol

# Connections of one address that have sent no request after this share of `request_timeout`. With more, the oldest is
# closed. A proxy may open more at once for its users: those have not had the time to send anything.
MAX_WAITING_PER_ADDRESS = 64
WAITING_SHARE = 0.1
TIMEOUT_RESPONSE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class LimitedHttpProtocol(H11Protocol):
    """Closes a connection on which the headers of a request are not complete after `request_timeout` seconds.

    The same holds for the rest of a body that nothing reads, because the request was refused. BodyLimits limits the
    time of all other bodies.
    """

    request_timeout: float

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.opened_at = time.monotonic()
        self._timer: asyncio.TimerHandle | None = self.loop.call_later(self.request_timeout, self._close_slow)
        waiting_seconds = WAITING_SHARE * self.request_timeout
        self._limit_timer = self.loop.call_later(waiting_seconds, self._limit_waiting)

    def _limit_waiting(self) -> None:
        """Closes the oldest connection of this address if too many that are as old as this one still wait."""
        waiting = [
            other for other in self.connections if self._is_waiting_too(other) and other.opened_at <= self.opened_at
        ]
        if len(waiting) > MAX_WAITING_PER_ADDRESS:
            min(waiting, key=lambda other: other.opened_at).transport.abort()

    def _is_waiting_too(self, other: object) -> TypeGuard[LimitedHttpProtocol]:
        """Returns whether another connection, or this one, has the same address and has sent no request yet."""
        return (
            isinstance(other, LimitedHttpProtocol)
            and not other.cycle
            and not other.transport.is_closing()
            and bool(other.client and self.client and other.client[0] == self.client[0])
        )

    def data_received(self, data: bytes) -> None:
        if self._is_idle() and self._timer is None:
            self._timer = self.loop.call_later(self.request_timeout, self._close_slow)
        super().data_received(data)
        if not self._is_idle():
            self._cancel_timer()

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._cancel_timer()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        self._limit_timer.cancel()
        super().connection_lost(exc)

    def _is_idle(self) -> bool:
        """Returns whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close_slow(self) -> None:
        self._timer = None
        if self._is_idle() and not self.transport.is_closing():
            if not self.cycle and self.conn.trailing_data[0]:
                self.transport.write(TIMEOUT_RESPONSE)
            self.transport.close()


def create_http_protocol(timeout: float) -> type[LimitedHttpProtocol]:
    """Returns the class with a timeout in seconds."""

    class ConfiguredProtocol(LimitedHttpProtocol):
        request_timeout = timeout

    return ConfiguredProtocol


def configure_http_server(timeout: float) -> None:
    """Makes servers use LimitedHttpProtocol. Gradio starts the server itself, and has no setting for its protocol."""
    protocols: dict[str, object] = uvicorn_config.HTTP_PROTOCOLS  # type: ignore[assignment]
    protocols["auto"] = create_http_protocol(timeout)
