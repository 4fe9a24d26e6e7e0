"""Which worker gets the next job."""

import pytest

from imagegen.jobs.worker_scheduler import LOADING_COST_JOBS, MAX_PREFERENCE_WAIT_SECONDS, WorkerScheduler
from imagegen.workers.messages import ModelsInMemory, WorkerGone, WorkerReady
from imagegen.workers.registry import WorkerRegistry

FIRST, SECOND = "cuda:0", "cuda:1"


class SchedulerHarness:
    """A scheduler of two ready workers, and a clock that the test sets."""

    def __init__(self, max_running: int) -> None:
        self.registry, self.now, self.job_count = WorkerRegistry((FIRST, SECOND)), 0.0, 0
        self.scheduler = WorkerScheduler(self.registry, max_running, lambda: self.now)
        for name in (FIRST, SECOND):
            self.registry.handle_report(WorkerReady(worker=name, device="cuda", dtype="bfloat16"))

    def hold(self, worker: str, *models: str) -> None:
        self.registry.handle_report(ModelsInMemory(worker=worker, models=models))

    def run(self, worker: str, model_id: str, count: int = 1) -> None:
        for _ in range(count):
            self.job_count += 1
            self.registry.add_job(worker, f"job {self.job_count}", model_id)


@pytest.fixture
def harness() -> SchedulerHarness:
    return SchedulerHarness(max_running=2)


@pytest.fixture
def roomy() -> SchedulerHarness:
    return SchedulerHarness(max_running=16)


def test_a_job_runs_where_its_model_is(harness: SchedulerHarness) -> None:
    harness.hold(SECOND, "a")
    harness.run(SECOND, "a")
    assert harness.scheduler.choose("next", "a") == SECOND


def test_a_model_that_is_being_loaded_for_a_job_counts_as_there(harness: SchedulerHarness) -> None:
    harness.run(SECOND, "a")
    assert harness.scheduler.choose("next", "a") == SECOND


def test_of_several_workers_with_the_model_the_one_with_fewer_jobs_is_chosen(harness: SchedulerHarness) -> None:
    harness.hold(FIRST, "a")
    harness.hold(SECOND, "a")
    harness.run(FIRST, "a")
    assert harness.scheduler.choose("next", "a") == SECOND


def test_a_model_that_is_nowhere_goes_to_the_worker_with_fewer_jobs(harness: SchedulerHarness) -> None:
    harness.run(FIRST, "a")
    assert harness.scheduler.choose("next", "b") == SECOND


def test_many_jobs_of_one_model_spread_over_the_workers(roomy: SchedulerHarness) -> None:
    roomy.hold(FIRST, "a")
    roomy.run(FIRST, "a", LOADING_COST_JOBS)
    assert roomy.scheduler.choose("next", "a") == FIRST
    roomy.run(FIRST, "a")
    assert roomy.scheduler.choose("next", "a") == SECOND


def test_each_worker_has_room_for_the_same_number_of_jobs(harness: SchedulerHarness) -> None:
    for name in (FIRST, SECOND):
        harness.run(name, "a")
        assert harness.scheduler.has_room()
        harness.run(name, "a")
    assert not harness.scheduler.has_room()
    assert harness.scheduler.choose("next", "a") is None


def test_a_job_waits_for_a_busy_worker_with_its_model_but_not_for_long(harness: SchedulerHarness) -> None:
    harness.hold(FIRST, "a")
    harness.run(FIRST, "a", 2)
    assert harness.scheduler.choose("next", "a") is None
    harness.now = MAX_PREFERENCE_WAIT_SECONDS * 0.9
    assert harness.scheduler.choose("next", "a") is None
    harness.now = MAX_PREFERENCE_WAIT_SECONDS
    assert harness.scheduler.choose("next", "a") == SECOND


def test_a_worker_with_the_model_that_becomes_free_in_time_gets_the_job(harness: SchedulerHarness) -> None:
    harness.hold(FIRST, "a")
    harness.run(FIRST, "a", 2)
    assert harness.scheduler.choose("next", "a") is None
    harness.registry.remove_job("job 1")
    assert harness.scheduler.choose("next", "a") == FIRST


def test_each_job_waits_anew(harness: SchedulerHarness) -> None:
    harness.hold(FIRST, "a")
    harness.run(FIRST, "a", 2)
    assert harness.scheduler.choose("one", "a") is None
    harness.now = MAX_PREFERENCE_WAIT_SECONDS
    assert harness.scheduler.choose("two", "a") is None


def test_a_worker_that_is_not_ready_gets_no_job_and_is_not_waited_for(harness: SchedulerHarness) -> None:
    harness.hold(FIRST, "a")
    harness.registry.handle_report(WorkerGone(worker=FIRST))
    assert harness.scheduler.choose("next", "a") == SECOND
    harness.registry.handle_report(WorkerGone(worker=SECOND, reason="no memory."))
    assert not harness.scheduler.has_room()
