"""Long work as a generator."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import Executor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")


class Abandoned(BaseException):
    """Nobody waits any more. Raised in the work when it next has something to say."""


@dataclass(frozen=True)
class Ended:
    error: BaseException | None


def streamed(work: Callable[[Callable[[Item], None]], None], thread: Executor) -> Generator[Item]:
    """Runs `work` in another thread, yields what it says, and raises what it raises.

    Closing the generator ends the work when it next says something, and waits for that.
    """
    said: SimpleQueue[Item | Ended] = SimpleQueue()
    abandoned = threading.Event()

    def say(item: Item) -> None:
        if abandoned.is_set():
            raise Abandoned
        said.put(item)

    def run() -> None:
        try:
            work(say)
        except BaseException as error:
            said.put(Ended(error))
        else:
            said.put(Ended(None))

    running = thread.submit(run)
    try:
        while not isinstance(item := said.get(), Ended):
            yield item
    finally:
        abandoned.set()
        running.result()
    if item.error is not None:
        raise item.error
