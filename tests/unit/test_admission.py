"""Who may enter the queue, and when those who are refused should come back."""

from __future__ import annotations

import pytest

from imagegen.errors import QueueFull, TooManyJobs
from imagegen.jobs.admission import Admission
from imagegen.jobs.queue import JobQueue
from imagegen.jobs.throughput import Throughput
from imagegen.settings import Settings
from tests.unit.clock import Clock


class AdmissionHarness:
    """A queue with room for four jobs, two of each user."""

    def __init__(self) -> None:
        self.clock, self.queue = Clock(), JobQueue()
        self.queue.throughput = Throughput(self.clock)
        self.room = 0
        settings = Settings(max_queued=4, queued_per_user=2, running_per_user=2)
        self.admission = Admission(self.queue, settings, lambda: self.room, clock=self.clock)

    def submit(self, job_id: str, owner: str) -> None:
        with self.admission.admit(owner):
            self.queue.add(job_id, owner)

    def run_next(self, seconds: float) -> None:
        """Runs a job, which takes so long."""
        job_id = self.queue.find_next(1000)
        assert job_id is not None
        self.queue.start(job_id)
        self.clock.seconds += seconds
        self.queue.finish("x")

    def refuse(self, owner: str = "new") -> int:
        """Returns the seconds after which the refused user should come back."""
        with pytest.raises(QueueFull) as refused:
            self.submit("refused", owner)
        return refused.value.retry_after


@pytest.fixture
def harness() -> AdmissionHarness:
    return AdmissionHarness()


def fill(harness: AdmissionHarness) -> None:
    for job_id, owner in (("1", "ann"), ("2", "ann"), ("3", "bob"), ("4", "bob")):
        if job_id not in harness.queue:
            harness.submit(job_id, owner)


def test_a_user_has_a_limit_and_the_queue_has_one(harness: AdmissionHarness) -> None:
    harness.submit("1", "ann")
    harness.submit("2", "ann")
    with pytest.raises(TooManyJobs, match="You have 2 waiting jobs; the limit is 2"):
        harness.submit("3", "ann")
    harness.submit("3", "bob")
    harness.submit("4", "bob")
    assert harness.refuse() > 0


def test_jobs_that_are_being_stored_count(harness: AdmissionHarness) -> None:
    with harness.admission.admit("ann"), harness.admission.admit("ann"):
        with pytest.raises(TooManyJobs):
            harness.submit("3", "ann")
        with harness.admission.admit("bob"), harness.admission.admit("cem"), pytest.raises(QueueFull):
            harness.submit("5", "dan")
    harness.submit("3", "ann")


def test_jobs_that_will_start_at_once_do_not_count(harness: AdmissionHarness) -> None:
    harness.room = 3
    for number in range(4):  # Two of them start, for that is how many of one user may run.
        harness.submit(str(number), "ann")
    with pytest.raises(TooManyJobs):
        harness.submit("4", "ann")


def test_refused_clients_come_back_one_after_another_at_the_measured_rate(harness: AdmissionHarness) -> None:
    for _ in range(3):
        fill(harness)
        harness.run_next(10)
    fill(harness)
    assert [harness.refuse() for _ in range(3)] == [10, 20, 30]
    harness.clock.seconds += 10
    assert harness.refuse() == 30


def test_nobody_waits_longer_than_the_whole_queue_takes(harness: AdmissionHarness) -> None:
    for _ in range(3):
        fill(harness)
        harness.run_next(10)
    fill(harness)
    assert max(harness.refuse() for _ in range(50)) == 40


def test_jobs_that_run_side_by_side_are_faster_than_their_durations() -> None:
    clock = Clock()
    throughput = Throughput(clock)
    throughput.handle_end(are_others_waiting=True)
    for _ in range(5):
        clock.seconds += 8
        for _ in range(16):
            throughput.handle_end(are_others_waiting=True)
    assert throughput.seconds_per_job == pytest.approx(8 / 16, rel=0.3)


def test_the_time_without_waiting_jobs_does_not_count() -> None:
    clock = Clock()
    throughput = Throughput(clock)
    throughput.handle_end(are_others_waiting=True)
    clock.seconds += 2
    throughput.handle_end(are_others_waiting=False)
    clock.seconds += 10_000
    throughput.handle_end(are_others_waiting=True)
    clock.seconds += 2
    throughput.handle_end(are_others_waiting=False)
    assert throughput.seconds_per_job == 2
