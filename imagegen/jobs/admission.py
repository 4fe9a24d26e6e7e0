"""Decides whether there is room in the queue for another job, and otherwise when to try again."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from imagegen.errors import QueueFull, TooManyJobs
from imagegen.jobs.queue import JobQueue
from imagegen.settings import Settings


class Admission:
    """Checks the limits of the queue. Jobs that are being stored count, and those that will start at once do not.

    `count_room` returns how many jobs the workers can start now. `clock` returns seconds.
    """

    def __init__(
        self,
        queue: JobQueue,
        settings: Settings,
        count_room: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.queue, self.settings = queue, settings
        self._count_room, self._clock = count_room, clock
        self._entering: Counter[str] = Counter()
        # When the client that was refused last may come back.
        self._promised_until = 0.0

    @contextmanager
    def admit(self, owner: str) -> Iterator[None]:
        """Holds a place for a job of this user until the block ends, which adds it to the queue.

        Raises QueueFull and TooManyJobs.
        """
        self._check_limits(owner)
        self._entering[owner] += 1
        try:
            yield
        finally:
            self._entering[owner] -= 1
            if not self._entering[owner]:
                del self._entering[owner]

    def _check_limits(self, owner: str) -> None:
        room, settings = self._count_room(), self.settings
        waiting = max(len(self.queue) + self._entering.total() - room, 0)
        if waiting >= settings.max_queued:
            raise QueueFull(waiting, self._promise_place(waiting))
        own_room = min(room, settings.running_per_user - self.queue.count_running(owner))
        own_waiting = max(self.queue.count_of(owner) + self._entering[owner] - own_room, 0)
        if own_waiting >= settings.queued_per_user:
            turn_seconds = self.queue.throughput.seconds_per_job * max(self.queue.count_owners(), 1)
            raise TooManyJobs(waiting=own_waiting, most=settings.queued_per_user, retry_after=math.ceil(turn_seconds))

    def _promise_place(self, waiting: int) -> int:
        """Returns in how many seconds a refused client should come back: each one a job later than the one before.

        It is never longer than the whole queue takes.
        """
        now, seconds_per_job = self._clock(), self.queue.throughput.seconds_per_job
        promised_until = max(now, self._promised_until) + seconds_per_job
        self._promised_until = min(promised_until, now + waiting * seconds_per_job)
        return math.ceil(self._promised_until - now)
