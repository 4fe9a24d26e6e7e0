"""Pictures for a contender, as users ask for them, and when what happened to each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from PIL import Image

from imagegen.engine.engine import Control
from imagegen.schema import GenerationRequest

Told = Callable[[str], None]
PATIENCE_STEPS = 3
POLL = 0.001


class Contender(Protocol):
    """`begin` starts a picture and tells what happens to it: "step", "preview", and at last "done" or "cancelled".

    `work` is what the main thread does until `stop`: CUDA graphs of compiled networks run in no other.
    `passes` counts those of its networks; `peak_mb` is the most of a GPU's memory that it used since it was idle, None
    without one.
    """

    def work(self) -> None: ...

    def stop(self) -> None: ...

    @property
    def passes(self) -> int: ...

    def peak_mb(self) -> float | None: ...

    def is_settled(self) -> bool: ...

    def begin(self, request: GenerationRequest, control: Control, tell: Told) -> Future[Image.Image | None]: ...


class Watcher:
    """One picture. Times are in seconds since the load began. With `impatient`, it is cancelled after a few steps."""

    def __init__(self, began: float, impatient: bool) -> None:
        self.began, self.impatient = began, impatient
        self.control = Control(threading.Event(), threading.Event())
        self.control.previews.set()
        self.facts: dict[str, float] = {"arrived": time.perf_counter() - began, "steps": 0}
        self.steps: list[float] = []

    def tell(self, what: str) -> None:
        now = time.perf_counter() - self.began
        self.facts.setdefault(f"first {what}", now)
        if what in ("done", "cancelled"):
            self.facts["ended"], self.facts["cancelled"] = now, what == "cancelled"
        elif what == "step":
            self.steps.append(now)
            self.facts["steps"] += 1
            if self.impatient and self.facts["steps"] >= PATIENCE_STEPS:
                self.control.cancelled.set()


class Load:
    """`arrivals` are requests, each with its time; of every so many, `impatience`, one is cancelled.

    The picture of the first is kept.
    """

    def __init__(self, contender: Contender, arrivals: Sequence[tuple[float, dict[str, Any]]], impatience: int) -> None:
        self.contender, self.arrivals, self.impatience = contender, arrivals, impatience
        self.began = time.perf_counter()
        self.watchers: list[Watcher] = []
        self.first: Image.Image | None = None
        self._wrong: list[BaseException] = []
        self._lock, self._ended = threading.Lock(), threading.Semaphore(0)

    def closed(self, users: int) -> list[dict[str, float]]:
        """Each user asks for the next picture when he has had his last, whatever the times say."""
        for _ in range(users):
            self._next(and_then=True)
        return self._all()

    def open(self) -> list[dict[str, float]]:
        """Pictures are asked for at their times, whoever waits already."""
        for at, _ in self.arrivals:
            time.sleep(max(0.0, at - (time.perf_counter() - self.began)))
            self._next(and_then=False)
        return self._all()

    def joined(self, steps: int) -> list[dict[str, float]]:
        """All but the last begin at once, and the last when these have made so many steps between them.

        Told of each is also how many steps it made between the coming of the last and his first.
        """
        for _ in self.arrivals[1:]:
            self._next(and_then=False)
        while sum(len(watcher.steps) for watcher in self.watchers) < steps:
            time.sleep(POLL)
        self._next(and_then=False)
        happenings = self._all()
        came, answered = happenings[-1]["arrived"], happenings[-1]["first step"]
        for watcher in self.watchers:
            watcher.facts["steps meanwhile"] = sum(came < at < answered for at in watcher.steps)
        return happenings

    def _all(self) -> list[dict[str, float]]:
        """Raises what went wrong with a picture."""
        for _ in self.arrivals:
            self._ended.acquire()
        if self._wrong:
            raise self._wrong[0]
        return [watcher.facts for watcher in self.watchers]

    def _next(self, and_then: bool) -> None:
        with self._lock:
            number = len(self.watchers)
            if number == len(self.arrivals):
                return
            impatient = self.impatience > 0 and number % self.impatience == 0
            self.watchers.append(Watcher(self.began, impatient))
        watcher, (_, request) = self.watchers[number], self.arrivals[number]

        def over(made: Future[Image.Image | None]) -> None:
            if (error := made.exception()) is not None:
                self._wrong.append(error)
            elif number == 0:
                self.first = made.result()
            self._ended.release()
            if and_then:
                self._next(and_then)

        made = self.contender.begin(GenerationRequest.model_validate(request), watcher.control, watcher.tell)
        made.add_done_callback(over)
