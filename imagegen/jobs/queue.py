"""The order of the queued jobs: users take turns."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import count

from imagegen.jobs.throughput import Throughput


@dataclass(frozen=True, order=True)
class Place:
    """A queued job of a user. `number` counts all jobs in the order of their arrival."""

    number: int
    job_id: str


class JobQueue:
    """The queued jobs, in memory; the database has the same jobs.

    The first job of each user comes before the second of any. Among users, the one who was served longest ago is first;
    users who were never served come before all others, in the order in which their jobs arrived.
    """

    def __init__(self) -> None:
        self._places: dict[str, list[Place]] = {}  # By owner, in the order of arrival.
        self._owner_by_id: dict[str, str] = {}
        self._number_by_id: dict[str, int] = {}
        self._numbers, self._turns = count(1), count(1)
        self._last_turn: dict[str, int] = {}  # By owner: a greater number is later.
        self._running: Counter[str] = Counter()
        self.throughput = Throughput()

    def __len__(self) -> int:
        return len(self._owner_by_id)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._owner_by_id

    def restore(self, served_owners: Iterable[str], jobs: Iterable[tuple[str, str]]) -> None:
        """Fills an empty queue: with owners, the one served last at the end, and with ids and owners of jobs."""
        for owner in served_owners:
            self._last_turn[owner] = next(self._turns)
        for job_id, owner in jobs:
            self.add(job_id, owner)

    def add(self, job_id: str, owner: str) -> None:
        place = Place(next(self._numbers), job_id)
        self._places.setdefault(owner, []).append(place)
        self._owner_by_id[job_id], self._number_by_id[job_id] = owner, place.number

    def remove(self, job_id: str) -> None:
        """Does nothing for a job that is not queued."""
        owner = self._owner_by_id.pop(job_id, None)
        if owner is None:
            return
        places, place = self._places[owner], Place(self._number_by_id.pop(job_id), job_id)
        del places[bisect_left(places, place)]
        if not places:
            del self._places[owner]

    def start(self, job_id: str) -> None:
        """Takes a job out of the queue; it counts as running until `finish`."""
        owner = self._owner_by_id[job_id]
        self.remove(job_id)
        self._running[owner] += 1
        self._last_turn[owner] = next(self._turns)

    def finish(self, owner: str) -> None:
        """A running job of this user has ended."""
        self._running[owner] -= 1
        if not self._running[owner]:
            del self._running[owner]
        self.throughput.handle_end(are_others_waiting=bool(self))

    def count_of(self, owner: str) -> int:
        """Returns how many jobs of a user are queued."""
        return len(self._places.get(owner, ()))

    def count_running(self, owner: str) -> int:
        """Returns how many jobs of a user run."""
        return self._running[owner]

    def count_owners(self) -> int:
        """Returns how many users have queued jobs."""
        return len(self._places)

    def list_queued(self) -> list[str]:
        """Returns the ids of all queued jobs, in the order in which they will start if no other is added."""
        keyed = [(self._build_key(owner, rank), place.job_id) for owner, rank, place in self._iterate()]
        return [job_id for _, job_id in sorted(keyed)]

    def find_next(self, max_per_user: int, excluded: Collection[str] = ()) -> str | None:
        """Returns the job that starts next, None if none may.

        Skips users who have `max_per_user` running jobs, and those whose first job is in `excluded`.
        """
        firsts = [
            (self._build_key(owner, 0), places[0].job_id)
            for owner, places in self._places.items()
            if self._running[owner] < max_per_user and places[0].job_id not in excluded
        ]
        return min(firsts)[1] if firsts else None

    def get_position(self, job_id: str) -> int:
        """Returns how many jobs start before this one; 0 also for a job that is not queued."""
        owner = self._owner_by_id.get(job_id)
        if owner is None:
            return 0
        return self._count_before(owner, bisect_left(self._places[owner], Place(self._number_by_id[job_id], job_id)))

    def predict_position(self, owner: str) -> int:
        """Returns the position that the next job of a user will have."""
        return self._count_before(owner, self.count_of(owner))

    def _count_before(self, owner: str, rank: int) -> int:
        """Returns how many jobs start before the one with this rank among its owner's. Ranks start at 0."""
        key = self._build_key(owner, rank)
        others = ((other, len(places)) for other, places in self._places.items() if other != owner)
        return rank + sum(
            min(size, rank) + (size > rank and self._build_key(other, rank) < key) for other, size in others
        )

    def _build_key(self, owner: str, rank: int) -> tuple[int, int, float]:
        """Returns what jobs are ordered by. The place after an owner's last one counts as the latest arrival."""
        places = self._places.get(owner, ())
        number = places[rank].number if rank < len(places) else float("inf")
        return rank, self._last_turn.get(owner, 0), number

    def _iterate(self) -> Iterator[tuple[str, int, Place]]:
        """Yields the owner, the rank among the owner's jobs, and the place of each job."""
        for owner, places in self._places.items():
            for rank, place in enumerate(places):
                yield owner, rank, place
