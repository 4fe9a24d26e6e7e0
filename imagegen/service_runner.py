"""Runs the service on the event loop of the web server; the main thread says when to stop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from imagegen.service import Service


class ServiceRunner:
    """Stops in two stages: `drain` lets running jobs finish, for at most `drain_timeout` seconds; `stop` ends them.

    `on_end` is called when the service has stopped, or could not be started.
    """

    def __init__(self, service: Service, drain_timeout: float, on_end: Callable[[], None]) -> None:
        self.service, self.drain_timeout, self._on_end = service, drain_timeout, on_end
        self.error: Exception | None = None
        self._drain_requested, self._stop_requested, self._ended = (threading.Event() for _ in range(3))

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    async def run(self) -> None:
        """Returns when the service has stopped. Its first error is kept as `error`."""
        try:
            await self.service.start()
            await asyncio.to_thread(self._drain_requested.wait)
            await self._drain_service()
        except Exception as error:
            self.error = error
        try:
            await self.service.stop()
        except Exception as error:
            self.error = self.error or error
        finally:
            self._ended.set()
            self._on_end()

    def drain(self) -> None:
        """Accepts no more jobs, and stops when those that run have ended. For any thread; not for signal handlers."""
        self._drain_requested.set()

    def stop(self, timeout: float) -> None:
        """Ends the running jobs, and returns when the service has stopped, or after `timeout` seconds."""
        self._drain_requested.set()
        self._stop_requested.set()
        self._ended.wait(timeout)

    async def _drain_service(self) -> None:
        waits = [
            asyncio.create_task(self.service.drain()),
            asyncio.create_task(asyncio.to_thread(self._stop_requested.wait)),
        ]
        await asyncio.wait(waits, timeout=self.drain_timeout, return_when=asyncio.FIRST_COMPLETED)
        self._stop_requested.set()  # Ends the thread that waits for it.
        waits[0].cancel()
        await asyncio.gather(*waits, return_exceptions=True)
