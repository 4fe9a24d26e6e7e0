"""Many runs in one thread: each is an ordinary function that may wait in its middle, and the others go on meanwhile.

One thread, since each thread that computes costs OpenMP a pool of its own, and since what runs share needs no lock
then. Runs are greenlets, which wait inside of calls of libraries that know nothing of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import torch
from greenlet import getcurrent, greenlet

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What a fibre gets for what it asked: a value, or an error to raise where it asked."""

    fibre: Fibre
    value: Any = None
    error: BaseException | None = None


class Fibre(greenlet):
    """One run, in the thread of its loop. `carrying` is whatever those who answer need to know of it."""

    def __init__(self, loop: Loop, run: Callable[[Any], None], carrying: Any) -> None:
        super().__init__(run)
        self.loop, self.carrying = loop, carrying


class Loop:
    """Lets fibres run until each has asked something, has ended, or waits for another thread; then answers them all.

    `answered` makes answers, in any order, of what was asked since the last time.
    """

    def __init__(self, answered: Callable[[Sequence[tuple[Fibre, Any]]], Iterable[Answer]]) -> None:
        self._answered = answered
        self._asked: list[tuple[Fibre, Any]] = []
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        # It ends when nobody refers to the loop any more.
        self._thread = ThreadPoolExecutor(1, "engine")

    def post(self, function: Callable[[], None]) -> None:
        """Calls it in the loop's thread, before the next answers. It must not raise."""
        self._inbox.put(function)
        self._thread.submit(self._work)

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Calls it in the loop's thread, before the next answers."""
        future: Future[T] = Future()
        self.post(lambda: settle(future, function))
        return future

    def start(self, function: Callable[[], None], carrying: Any = None) -> None:
        """Runs it as a fibre, from now on. Called in the loop's thread, and not in a fibre. It must not raise."""
        self._go_on(Answer(Fibre(self, lambda _: function(), carrying)))

    def go_on(self, fibre: Fibre) -> None:
        self.post(lambda: self._go_on(Answer(fibre)))

    def _work(self) -> None:
        with torch.no_grad():  # For all: one that ends would else switch it back on for the others.
            self._take()
            while self._asked:
                asked, self._asked = self._asked, []
                self._answer(asked)
                del asked
                self._take()

    def _answer(self, asked: Sequence[tuple[Fibre, Any]]) -> None:
        """Whoever got no answer gets the error that was the reason: nobody waits for ever."""
        left = [fibre for fibre, _ in asked]
        try:
            for answer in self._answered(asked):
                left.remove(answer.fibre)
                self._go_on(answer)
        except Exception as error:
            for fibre in left:
                self._go_on(Answer(fibre, error=error))

    def _take(self) -> None:
        while True:
            try:
                function = self._inbox.get_nowait()
            except Empty:
                return
            try:
                function()
            except Exception:
                logger.exception("The engine cannot go on with what it was told")

    def _go_on(self, answer: Answer) -> None:
        fibre = answer.fibre
        asked = fibre.switch(answer.value) if answer.error is None else fibre.throw(answer.error)
        if not fibre.dead and asked is not None:
            self._asked.append((fibre, asked))


def current() -> Fibre | None:
    """The fibre that runs, where one does."""
    running = getcurrent()
    return running if isinstance(running, Fibre) else None


def ask(question: Any) -> Any:
    """The answer of the loop, for the fibre that calls it. The others go on meanwhile."""
    running = current()
    assert running is not None and running.parent is not None
    return running.parent.switch(question)


def waited(future: Future[T]) -> T:
    """The result of a future. A fibre lets the others go on meanwhile."""
    running = current()
    if running is not None and not future.done():
        assert running.parent is not None
        future.add_done_callback(lambda _: running.loop.go_on(running))
        running.parent.switch(None)
    return future.result()


def elsewhere(function: Callable[[], T]) -> Future[T]:
    """Runs it in a thread of its own, which takes what OpenMP gave it along when it ends."""
    future: Future[T] = Future()
    Thread(target=settle, args=(future, function), daemon=True).start()
    return future


def settle(future: Future[T], function: Callable[[], T]) -> None:
    try:
        value = function()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(value)
