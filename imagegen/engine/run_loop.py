"""A cooperative scheduler for engine jobs: each is an ordinary function in a greenlet; all share one thread.

A greenlet can wait inside a call of a library that is not aware of it, such as a diffusers pipeline. One thread,
because OpenMP creates a pool of threads for each thread that computes, and because shared state then needs no lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

import torch
from greenlet import getcurrent, greenlet

logger = logging.getLogger(__name__)

T = TypeVar("T")
# What the caller keeps with a task, what a task requests, and what it gets for a request.
Context = TypeVar("Context")
Payload = TypeVar("Payload")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Reply(Generic[Context, Value]):
    """The reply to a task's request: a value to return, or an error to raise, from `request` in that task."""

    task: Task[Context]
    value: Value | None = None
    error: BaseException | None = None


class Task(greenlet, Generic[Context]):
    """A function that runs in its loop's thread. `context` is for the handler of its requests."""

    def __init__(
        self, resume: Callable[[Task[Context]], None], run: Callable[[object], None], context: Context
    ) -> None:
        super().__init__(run)
        self.resume, self.context = resume, context


class RunLoop(Generic[Context, Payload, Value]):
    """Runs tasks until each has made a request, has ended, or waits for another thread; then handles all requests.

    `handle_requests` yields replies in any order, at least one. A request without a reply is in its next call, before
    the new ones.
    """

    def __init__(
        self,
        handle_requests: Callable[[Sequence[tuple[Task[Context], Payload]]], Iterable[Reply[Context, Value]]],
    ) -> None:
        self._handle_requests = handle_requests
        self._requests: list[tuple[Task[Context], Payload]] = []
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        # Its thread ends when the loop is garbage collected.
        self._thread = ThreadPoolExecutor(1, "engine")

    def post(self, function: Callable[[], None]) -> None:
        """Calls a function in the loop's thread, before the next requests are handled. It must not raise."""
        self._inbox.put(function)
        self._thread.submit(self._run_pending)

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Calls a function in the loop's thread, before the next requests are handled. Returns its future result."""
        future: Future[T] = Future()
        self.post(lambda: complete_future(future, function))
        return future

    def start(self, function: Callable[[], None], context: Context) -> None:
        """Runs a function as a new task.

        Called in the loop's thread, outside of a task. The function must not raise.
        """
        self._resume(Reply(Task(self.resume, lambda _: function(), context)))

    def resume(self, task: Task[Context]) -> None:
        """Continues a task that waits without a request, from any thread."""
        self.post(lambda: self._resume(Reply(task)))

    def _run_pending(self) -> None:
        with torch.no_grad():  # Around all tasks: the mode is per thread, and a task's own `no_grad` would end it.
            self._run_inbox()
            while self._requests:
                requests, self._requests = self._requests, []
                self._process_requests(requests)
                del requests
                self._run_inbox()

    def _process_requests(self, requests: Sequence[tuple[Task[Context], Payload]]) -> None:
        """Sends the replies. If the handler raises, every task without a reply gets that error, so that none waits."""
        unanswered = dict(requests)
        try:
            for reply in self._handle_requests(requests):
                del unanswered[reply.task]
                self._resume(reply)
            if len(unanswered) == len(requests):
                raise RuntimeError("The handler replied to no request")
        except Exception as error:
            for task in unanswered:
                self._resume(Reply(task, error=error))
        else:
            self._requests = [*unanswered.items(), *self._requests]

    def _run_inbox(self) -> None:
        while True:
            try:
                function = self._inbox.get_nowait()
            except Empty:
                return
            try:
                function()
            except Exception:
                logger.exception("A posted function raised; the engine goes on without it")

    def _resume(self, reply: Reply[Context, Value]) -> None:
        task = reply.task
        next_request = task.switch(reply.value) if reply.error is None else task.throw(reply.error)
        if not task.dead and next_request is not None:
            self._requests.append((task, next_request))


def current_task() -> Task[Any] | None:
    """The task that calls this; None outside of tasks."""
    task = getcurrent()
    return task if isinstance(task, Task) else None


def get_context(context_type: type[T]) -> T:
    """Returns the context of the task that runs, which must be of this type."""
    task = current_task()
    assert task is not None and isinstance(task.context, context_type)
    return task.context


def request(payload: object) -> Any:
    """Sends a request from the current task and returns the reply. Other tasks run meanwhile."""
    task = current_task()
    assert task is not None and task.parent is not None
    return task.parent.switch(payload)


def wait_for(future: Future[T]) -> T:
    """Returns the result of a future, or raises its error.

    In a task, other tasks run meanwhile; elsewhere it blocks.
    """
    task = current_task()
    if task is not None and not future.done():
        assert task.parent is not None
        future.add_done_callback(lambda _: task.resume(task))
        task.parent.switch(None)
    return future.result()


def run_in_thread(function: Callable[[], T]) -> Future[T]:
    """Calls a function in a new thread. OpenMP's pool for that thread is freed when the thread ends."""
    future: Future[T] = Future()
    Thread(target=complete_future, args=(future, function), daemon=True).start()
    return future


def complete_future(future: Future[T], function: Callable[[], T]) -> None:
    """Calls a function and sets the future to its result or error."""
    try:
        value = function()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(value)
