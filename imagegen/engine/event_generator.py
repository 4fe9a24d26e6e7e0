"""Runs work in another thread, and yields the events that it emits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

Event = TypeVar("Event")


class ConsumerGone(BaseException):
    """Raised inside the work, by its next emit, after the generator was closed."""


def generate_events(start: Callable[[Callable[[Event], None]], Future[None]]) -> Generator[Event]:
    """Starts work in another thread, yields what it emits, and raises what it raises.

    `start` gets the emit function and returns the future of the work. Closing the generator makes the next emit raise
    ConsumerGone, and waits until the work has ended.
    """
    queue: SimpleQueue[Event | Future[None]] = SimpleQueue()
    is_closed = threading.Event()

    def emit(event: Event) -> None:
        if is_closed.is_set():
            raise ConsumerGone
        queue.put(event)

    done = start(emit)
    done.add_done_callback(queue.put)
    try:
        while (event := queue.get()) is not done:
            assert not isinstance(event, Future)
            yield event
    finally:
        is_closed.set()
        done.exception()
    done.result()
