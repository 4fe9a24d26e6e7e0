"""The end of the service, also when it cannot start, always wakes the main thread."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

import pytest

from imagegen.errors import StorageUnavailable
from imagegen.service import Service
from imagegen.service_runner import ServiceRunner


class FailingService:
    """Stands for a service whose `start` or `stop` raises."""

    def __init__(self, **errors: Exception) -> None:
        self.errors = errors

    async def start(self) -> None:
        self._fail("start")

    async def drain(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None:
        self._fail("stop")

    def _fail(self, name: str) -> None:
        if name in self.errors:
            raise self.errors[name]


def make_runner(drain_timeout: float = 60, **errors: Exception) -> tuple[ServiceRunner, threading.Event]:
    woken = threading.Event()
    service = cast("Service", cast("Any", FailingService(**errors)))
    return ServiceRunner(service, drain_timeout, on_end=woken.set), woken


@pytest.mark.parametrize("error", [StorageUnavailable("it is damaged"), RuntimeError("unexpected")])
async def test_an_error_of_the_start_ends_the_service(error: Exception) -> None:
    runner, woken = make_runner(start=error)
    await runner.run()
    assert runner.error is error and runner.has_ended and woken.is_set()


async def test_an_error_of_the_stop_ends_the_service_too() -> None:
    error = RuntimeError("unexpected")
    runner, woken = make_runner(drain_timeout=0, stop=error)
    runner.drain()
    await runner.run()
    assert runner.error is error and runner.has_ended and woken.is_set()


async def test_the_first_error_is_kept() -> None:
    first = RuntimeError("first")
    runner, _ = make_runner(start=first, stop=RuntimeError("second"))
    await runner.run()
    assert runner.error is first


async def test_a_stop_does_not_wait_for_running_jobs() -> None:
    runner, woken = make_runner()
    task = asyncio.create_task(runner.run())
    runner.drain()
    await asyncio.sleep(0)
    assert not woken.is_set()
    await asyncio.to_thread(runner.stop, 10)
    await task
    assert runner.error is None and runner.has_ended
