"""When a worker counts as hanging."""

import pytest

from imagegen.errors import OutOfMemory, WorkerHung
from imagegen.schema.events import Cancelled, Event, Failed, Progress
from imagegen.workers.messages import Heartbeat, JobEvent
from imagegen.workers.watchdog import MAX_OUT_OF_MEMORY, STEP_TIMEOUT_FACTOR, Watchdog
from tests.doubles import make_result
from tests.unit.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watchdog(clock: Clock) -> Watchdog:
    return Watchdog(step_timeout=60, clock=clock)


def report(watchdog: Watchdog, event: Event, job_id: str = "one") -> None:
    watchdog.handle_report(JobEvent(worker="cpu", job_id=job_id, event=event))


def test_a_worker_without_jobs_may_rest(watchdog: Watchdog, clock: Clock) -> None:
    clock.seconds += 10_000
    watchdog.check()


def test_a_job_without_progress_counts_from_its_start(watchdog: Watchdog, clock: Clock) -> None:
    clock.seconds += 10_000
    watchdog.add_job("one")
    clock.seconds += 59
    watchdog.check()
    clock.seconds += 2
    with pytest.raises(WorkerHung):
        watchdog.check()


def test_heartbeats_are_no_progress(watchdog: Watchdog, clock: Clock) -> None:
    watchdog.add_job("one")
    clock.seconds += 61
    watchdog.handle_report(Heartbeat(worker="cpu"))
    with pytest.raises(WorkerHung):
        watchdog.check()


def test_progress_of_any_job_counts_for_all(watchdog: Watchdog, clock: Clock) -> None:
    watchdog.add_job("one")
    watchdog.add_job("two")
    clock.seconds += 50
    report(watchdog, Progress(step=1, steps=20), "two")
    clock.seconds += 50
    watchdog.check()


def test_a_job_that_has_ended_is_not_waited_for(watchdog: Watchdog, clock: Clock) -> None:
    watchdog.add_job("one")
    report(watchdog, Cancelled())
    clock.seconds += 10_000
    watchdog.check()


def test_a_slow_worker_gets_a_multiple_of_its_slowest_step(watchdog: Watchdog, clock: Clock) -> None:
    watchdog.add_job("one")
    clock.seconds += 50
    report(watchdog, Progress(step=1, steps=20))
    clock.seconds += 50 * STEP_TIMEOUT_FACTOR
    watchdog.check()
    clock.seconds += 1
    with pytest.raises(WorkerHung):
        watchdog.check()


def fail_for_memory(watchdog: Watchdog, count: int) -> None:
    for number in range(count):
        watchdog.add_job(f"job {number}")
        report(watchdog, Failed(code=OutOfMemory.code, message="too little memory"), f"job {number}")


def test_jobs_in_a_row_without_enough_memory_exhaust_a_worker(watchdog: Watchdog) -> None:
    fail_for_memory(watchdog, MAX_OUT_OF_MEMORY - 1)
    assert not watchdog.has_exhausted_memory
    watchdog.add_job("one")
    report(watchdog, make_result())
    fail_for_memory(watchdog, MAX_OUT_OF_MEMORY - 1)
    assert not watchdog.has_exhausted_memory, "a picture came between"
    watchdog.add_job("two")
    fail_for_memory(watchdog, 1)
    assert not watchdog.has_exhausted_memory, "a job still runs"
    report(watchdog, Failed(code="job_failed", message="another reason"), "two")
    assert watchdog.has_exhausted_memory
