"""Users take turns."""

from __future__ import annotations

import itertools
import random

import pytest

from imagegen.jobs.queue import JobQueue


class Line:
    """A queue whose jobs are named by their owner and a number."""

    def __init__(self) -> None:
        self.queue = JobQueue()
        self._numbers = itertools.count(1)

    def add(self, *owners: str) -> list[str]:
        ids = [f"{owner}-{next(self._numbers)}" for owner in owners]
        for job_id in ids:
            self.queue.add(job_id, job_id.partition("-")[0])
        return ids

    def start_next(self, max_per_user: int = 1000) -> str | None:
        job_id = self.queue.find_next(max_per_user)
        if job_id is not None:
            self.queue.start(job_id)
        return job_id

    def start_all(self) -> list[str]:
        """Returns the ids in the order of starting."""
        return list(iter(self.start_next, None))

    def finish_all(self) -> list[str]:
        """Runs one job after another, and returns the owners in that order."""
        served = []
        while job_id := self.start_next():
            served.append(job_id.partition("-")[0])
            self.queue.finish(served[-1])
        return served


@pytest.fixture
def line() -> Line:
    return Line()


def test_one_user_is_served_in_order(line: Line) -> None:
    ids = line.add("ann", "ann", "ann")
    assert line.queue.list_queued() == ids
    assert line.start_all() == ids
    assert len(line.queue) == 0


def test_a_user_with_many_jobs_does_not_hold_up_another(line: Line) -> None:
    line.add(*["ann"] * 50)
    line.start_next()
    (of_bob,) = line.add("bob")
    assert line.start_next() == of_bob


def test_users_take_turns(line: Line) -> None:
    line.add("ann", "ann", "ann", "bob", "bob", "cem")
    assert line.finish_all() == ["ann", "bob", "cem", "ann", "bob", "ann"]


def test_who_was_served_last_waits_for_who_was_not(line: Line) -> None:
    line.add("ann")
    line.finish_all()
    line.add("ann", "bob")
    assert line.finish_all() == ["bob", "ann"]


def test_a_restart_remembers_who_was_served_last(line: Line) -> None:
    line.queue.restore(["bob", "ann"], [("a", "ann"), ("b", "bob"), ("c", "cem")])
    assert line.start_all() == ["c", "b", "a"]


def test_a_user_runs_no_more_jobs_than_allowed(line: Line) -> None:
    first, second = line.add("ann", "ann")
    assert line.start_next(max_per_user=1) == first
    assert line.start_next(max_per_user=1) is None
    (of_bob,) = line.add("bob")
    assert line.start_next(max_per_user=1) == of_bob
    line.queue.finish("ann")
    assert line.start_next(max_per_user=1) == second


def test_a_user_whose_first_job_cannot_start_yet_waits_and_no_other(line: Line) -> None:
    first, _, of_bob = line.add("ann", "ann", "bob")
    assert line.queue.find_next(1000, excluded={first}) == of_bob


def test_a_removed_job_is_gone_and_the_others_keep_their_order(line: Line) -> None:
    ids = line.add("ann", "ann", "bob", "ann")
    line.queue.remove(ids[1])
    line.queue.remove(ids[1])
    assert ids[1] not in line.queue and line.queue.count_of("ann") == 2
    assert line.start_all() == [ids[0], ids[2], ids[3]]


@pytest.mark.parametrize("seed", range(20))
def test_positions_and_the_list_agree_with_the_order_of_starting(line: Line, seed: int) -> None:
    """A random history of arrivals, starts, ends and removals, and then what is left."""
    chance = random.Random(seed)
    for _ in range(60):
        match chance.choice(["add", "add", "start", "remove"]):
            case "add":
                owner = chance.choice("abcde")
                predicted = line.queue.predict_position(owner)
                (job_id,) = line.add(owner)
                assert line.queue.get_position(job_id) == predicted
            case "start":
                line.start_next()
            case "remove" if len(line.queue):
                line.queue.remove(chance.choice(line.queue.list_queued()))
    listed = line.queue.list_queued()
    assert [line.queue.get_position(job_id) for job_id in listed] == list(range(len(listed)))
    assert line.start_all() == listed
