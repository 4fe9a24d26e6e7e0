"""Long work as a generator."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")


class Abandoned(BaseException):
    """Nobody waits any more. Raised in the work when it next has something to say."""


def streamed(begin: Callable[[Callable[[Item], None]], Future[None]]) -> Generator[Item]:
    """Begins work in another thread, yields what it says, and raises what it raises.

    Closing the generator ends the work when it next says something, and waits for that.
    """
    said: SimpleQueue[Item | Future[None]] = SimpleQueue()
    abandoned = threading.Event()

    def say(item: Item) -> None:
        if abandoned.is_set():
            raise Abandoned
        said.put(item)

    ended = begin(say)
    ended.add_done_callback(said.put)
    try:
        while (item := said.get()) is not ended:
            assert not isinstance(item, Future)
            yield item
    finally:
        abandoned.set()
        ended.exception()
    ended.result()
