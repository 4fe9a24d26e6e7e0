"""Progress notifications of a tool call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

# Sends the progress, the total and a message to the client.
SendProgress = Callable[[float, float, str], Awaitable[None]]

TOTAL = 100.0
# MCP requires that the progress increases with each notification, also while a job waits.
MIN_INCREASE = 0.001


class ProgressReporter:
    """Reports in percent. Without `send` the client does not want notifications."""

    def __init__(self, send: SendProgress | None) -> None:
        self._send = send
        self._last = -MIN_INCREASE

    async def report(self, fraction: float, message: str) -> None:
        """`fraction` is the share that is done, in 0..1; one that is lower than the last counts as the last."""
        if self._send is not None:
            self._last = min(max(TOTAL * fraction, self._last + MIN_INCREASE), TOTAL)
            await self._send(round(self._last, 3), TOTAL, message)
