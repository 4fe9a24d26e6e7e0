"""How fast jobs leave a queue that is never empty, for telling clients when to try again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

# The mean is over this many jobs: several times as many as run at a time, because jobs that share steps end together.
REMEMBERED_JOBS = 64
DEFAULT_SECONDS_PER_JOB = 1.0


class Throughput:
    """Measures the time between the ends of jobs while others wait. Several jobs run at a time, so that this is less
    than the duration of a job. `clock` returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._intervals: deque[float] = deque(maxlen=REMEMBERED_JOBS)
        self._began_at: float | None = None

    @property
    def seconds_per_job(self) -> float:
        """The mean time in seconds between the ends of two jobs."""
        return sum(self._intervals) / len(self._intervals) if self._intervals else DEFAULT_SECONDS_PER_JOB

    def handle_end(self, are_others_waiting: bool) -> None:
        """A job has ended."""
        now = self._clock()
        if self._began_at is not None:
            self._intervals.append(now - self._began_at)
        self._began_at = now if are_others_waiting else None
