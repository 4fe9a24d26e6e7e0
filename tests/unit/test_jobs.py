"""Jobs survive a restart, and users take turns."""

from pathlib import Path

import pytest

from imagegen.errors import UnknownJob
from imagegen.jobs import JobStore
from imagegen.schema import Cancelled, Failed, GenerationRequest, Progress, Started
from tests.doubles import result

REQUEST = GenerationRequest(prompt="a red circle")


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "jobs.sqlite")


def add(store: JobStore, *owners: str) -> list[str]:
    return [store.add(REQUEST, owner).id for owner in owners]


def finish_all(store: JobStore) -> list[str]:
    """The owners in the order in which they are served."""
    served = []
    while job := store.start_next():
        store.append(job.id, result())
        served.append(job.owner)
    return served


def test_a_job_is_kept_whole(store: JobStore) -> None:
    request = GenerationRequest(prompt="Ein Kreis 🔴", seed=7, guidance_scale=3.5)
    job = store.get(store.add(request, "ann").id)
    assert (job.request, job.owner, job.state, job.started) == (request, "ann", "queued", None)


def test_an_unknown_job_is_named(store: JobStore) -> None:
    with pytest.raises(UnknownJob, match="There is no job nonsense"):
        store.get("nonsense")


def test_one_user_is_served_in_order(store: JobStore) -> None:
    ids = add(store, "ann", "ann", "ann")
    assert store.queue() == ids
    assert [job.id for job in iter(store.start_next, None)] == ids


def test_a_user_with_many_jobs_does_not_hold_up_another(store: JobStore) -> None:
    add(store, *["ann"] * 50)
    running = store.start_next()
    assert running is not None
    add(store, "bob")
    following = store.start_next()
    assert following is not None and following.owner == "bob"


def test_users_take_turns(store: JobStore) -> None:
    add(store, "ann", "ann", "ann", "bob", "bob", "cem")
    assert finish_all(store) == ["ann", "bob", "cem", "ann", "bob", "ann"]


def test_who_was_served_last_waits_for_who_was_not(store: JobStore) -> None:
    add(store, "ann")
    finish_all(store)
    add(store, "ann", "bob")
    assert finish_all(store) == ["bob", "ann"]


def test_the_queue_tells_the_order_of_starting(store: JobStore) -> None:
    add(store, "ann", "ann", "bob", "cem", "bob")
    expected = store.queue()
    assert [job.id for job in iter(store.start_next, None)] == expected


def test_events_can_be_read_again_from_any_point(store: JobStore) -> None:
    (job_id,) = add(store, "ann")
    store.append(job_id, Started())
    store.append(job_id, Progress(step=1, steps=2))
    store.append(job_id, result())
    assert [event.seq for event in store.events(job_id)] == [1, 2, 3]
    assert [event.type for event in store.events(job_id, after=1)] == ["progress", "result"]


def test_previews_are_not_stored(store: JobStore) -> None:
    (job_id,) = add(store, "ann")
    told = store.append(job_id, Progress(step=1, steps=2, preview="abc"))
    assert isinstance(told, Progress) and told.preview == "abc"
    (kept,) = store.events(job_id)
    assert isinstance(kept, Progress) and kept.preview is None


@pytest.mark.parametrize(
    ("event", "state"),
    [(result(), "done"), (Failed(code="x", message="y"), "failed"), (Cancelled(), "cancelled")],
)
def test_the_last_event_ends_the_job(store: JobStore, event: Cancelled, state: str) -> None:
    (job_id,) = add(store, "ann")
    store.append(job_id, event)
    job = store.get(job_id)
    assert job.state == state and job.finished is not None
    assert store.queue() == []


def test_a_restart_keeps_what_was_queued_and_marks_what_was_running(tmp_path: Path) -> None:
    before = JobStore(tmp_path / "jobs.sqlite")
    running, queued = add(before, "ann", "ann")
    before.start_next()
    before.close()
    after = JobStore(tmp_path / "jobs.sqlite")
    after.interrupt_running()
    assert after.get(running).state == "failed"
    assert [event.model_dump(include={"code"}) for event in after.events(running)] == [{"code": "interrupted"}]
    assert after.queue() == [queued]


def test_the_usual_time_is_that_of_finished_jobs(store: JobStore) -> None:
    assert store.usual_seconds() == 5.0
    add(store, "ann", "ann")
    finish_all(store)
    assert 0 <= store.usual_seconds() < 1
