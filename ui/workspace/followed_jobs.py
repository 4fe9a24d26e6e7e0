"""The jobs that a page follows, one after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class FollowedJob:
    """A job that was submitted; `prompt` is shown while it waits."""

    id: str
    prompt: str


class FollowedJobs:
    """The first job is the one that runs."""

    def __init__(self) -> None:
        self._jobs: deque[FollowedJob] = deque()

    @property
    def current(self) -> FollowedJob | None:
        return self._jobs[0] if self._jobs else None

    @property
    def waiting(self) -> tuple[FollowedJob, ...]:
        """The jobs after the current one."""
        return tuple(self._jobs)[1:]

    def add(self, jobs: Iterable[FollowedJob]) -> None:
        """Adds jobs at the end, but for those that are followed already."""
        known = {job.id for job in self._jobs}
        self._jobs.extend(job for job in jobs if job.id not in known)

    def remove(self, job_id: str) -> None:
        self._jobs = deque(job for job in self._jobs if job.id != job_id)
