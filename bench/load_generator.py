"""Generates load on a contender, as several users do, and records what happens to each picture."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from PIL import Image

from imagegen.engine.engine import JobControl
from imagegen.schema.request import GenerationRequest

EventCallback = Callable[[str], None]
CANCEL_AFTER_STEPS = 3
POLL_SECONDS = 0.001


class Contender(Protocol):
    """A way to generate pictures.

    `start_picture` calls back with "step", "preview", and last with "done" or "cancelled". `run` occupies the main
    thread until `stop`: CUDA graphs of torch.compile run in no other thread. `passes` counts forward passes of the
    networks; `peak_mb` is the peak of GPU memory in MiB since the last call, None without a GPU.
    """

    def run(self) -> None: ...

    def stop(self) -> None: ...

    @property
    def passes(self) -> int: ...

    def peak_mb(self) -> float | None: ...

    def is_settled(self) -> bool: ...

    def start_picture(
        self, request: GenerationRequest, control: JobControl, on_event: EventCallback
    ) -> Future[Image.Image | None]: ...


class PictureTimeline:
    """What happened to one picture, in seconds since the load began. `cancel_early` cancels it after a few steps."""

    def __init__(self, began: float, cancel_early: bool) -> None:
        self.began, self.cancel_early = began, cancel_early
        self.control = JobControl(threading.Event(), threading.Event())
        self.control.wants_previews.set()
        self.facts: dict[str, float] = {"arrived": time.perf_counter() - began, "steps": 0}
        self.steps: list[float] = []

    def record_event(self, event: str) -> None:
        now = time.perf_counter() - self.began
        self.facts.setdefault(f"first {event}", now)
        if event in ("done", "cancelled"):
            self.facts["ended"], self.facts["cancelled"] = now, event == "cancelled"
        elif event == "step":
            self.steps.append(now)
            self.facts["steps"] += 1
            if self.cancel_early and self.facts["steps"] >= CANCEL_AFTER_STEPS:
                self.control.cancelled.set()


class LoadGenerator:
    """Sends the requests of `arrivals`, each with its time in seconds, and cancels one of every `cancel_every`.

    Keeps the picture of the first request.
    """

    def __init__(
        self, contender: Contender, arrivals: Sequence[tuple[float, dict[str, Any]]], cancel_every: int
    ) -> None:
        self.contender, self.arrivals, self.cancel_every = contender, arrivals, cancel_every
        self.began = time.perf_counter()
        self.timelines: list[PictureTimeline] = []
        self.first: Image.Image | None = None
        self._errors: list[BaseException] = []
        self._lock, self._ended = threading.Lock(), threading.Semaphore(0)

    def run_closed_loop(self, users: int) -> list[dict[str, float]]:
        """Each user sends the next request when their last picture is finished. Arrival times are ignored."""
        for _ in range(users):
            self._start_next(repeat=True)
        return self._wait_for_all()

    def run_open_loop(self) -> list[dict[str, float]]:
        """Sends requests at their arrival times, without waiting for earlier ones."""
        for at, _ in self.arrivals:
            time.sleep(max(0.0, at - (time.perf_counter() - self.began)))
            self._start_next(repeat=False)
        return self._wait_for_all()

    def run_newcomer(self, steps: int) -> list[dict[str, float]]:
        """Starts all but the last request at once, and the last when the others have made `steps` steps in all.

        Adds to each timeline how many steps it made between the arrival of the last request and its first step.
        """
        for _ in self.arrivals[1:]:
            self._start_next(repeat=False)
        while sum(len(timeline.steps) for timeline in self.timelines) < steps:
            time.sleep(POLL_SECONDS)
        self._start_next(repeat=False)
        facts = self._wait_for_all()
        arrived, first_step = facts[-1]["arrived"], facts[-1]["first step"]
        for timeline in self.timelines:
            timeline.facts["steps meanwhile"] = sum(arrived < at < first_step for at in timeline.steps)
        return facts

    def _wait_for_all(self) -> list[dict[str, float]]:
        """Waits for all pictures. Raises the first error."""
        for _ in self.arrivals:
            self._ended.acquire()
        if self._errors:
            raise self._errors[0]
        return [timeline.facts for timeline in self.timelines]

    def _start_next(self, repeat: bool) -> None:
        with self._lock:
            number = len(self.timelines)
            if number == len(self.arrivals):
                return
            cancel_early = self.cancel_every > 0 and number % self.cancel_every == 0
            self.timelines.append(PictureTimeline(self.began, cancel_early))
        timeline, (_, request) = self.timelines[number], self.arrivals[number]

        def on_done(picture_future: Future[Image.Image | None]) -> None:
            if (error := picture_future.exception()) is not None:
                self._errors.append(error)
            elif number == 0:
                self.first = picture_future.result()
            self._ended.release()
            if repeat:
                self._start_next(repeat)

        future = self.contender.start_picture(
            GenerationRequest.model_validate(request), timeline.control, timeline.record_event
        )
        future.add_done_callback(on_done)
