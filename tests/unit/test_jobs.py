"""Jobs and their events survive a restart."""

from contextlib import closing
from pathlib import Path

import pytest

from imagegen.errors import UnknownJob
from imagegen.schema.events import Cancelled, Failed, Progress, Started
from imagegen.schema.request import GenerationRequest
from imagegen.storage.jobs import JobStore
from tests.doubles import make_result, make_sources
from tests.unit.stored_jobs import open_database

REQUEST = GenerationRequest(prompt="a red circle")


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(open_database(tmp_path / "jobs.sqlite"))


def add(store: JobStore, *owners: str) -> list[str]:
    return [store.add(REQUEST, owner, make_sources()).id for owner in owners]


def test_a_job_is_stored_completely(store: JobStore) -> None:
    request = GenerationRequest(prompt="Ein Kreis 🔴", seed=7, guidance_scale=3.5)
    job = store.get(store.add(request, "ann", make_sources()).id)
    assert (job.request, job.owner, job.state, job.started) == (request, "ann", "queued", None)
    assert job.sources == make_sources()


def test_an_unknown_job_is_named(store: JobStore) -> None:
    with pytest.raises(UnknownJob, match="There is no job nonsense"):
        store.get("nonsense")


def test_events_can_be_read_again_from_any_point(store: JobStore) -> None:
    (job_id,) = add(store, "ann")
    store.append_event(job_id, Started())
    store.append_event(job_id, Progress(step=1, steps=2))
    store.append_event(job_id, make_result())
    assert [event.seq for event in store.list_events(job_id)] == [1, 2, 3]
    assert [event.type for event in store.list_events(job_id, after=1)] == ["progress", "result"]


def test_previews_are_not_stored(store: JobStore) -> None:
    (job_id,) = add(store, "ann")
    published_events = store.append_event(job_id, Progress(step=1, steps=2, preview="abc"))
    assert isinstance(published_events, Progress) and published_events.preview == "abc"
    (kept,) = store.list_events(job_id)
    assert isinstance(kept, Progress) and kept.preview is None


@pytest.mark.parametrize("stored_event", ['{"type": "of_tomorrow"}', '{"type": "started", "new": 1}', "no JSON"])
def test_an_event_of_a_later_version_is_the_failure_of_its_job(store: JobStore, stored_event: str) -> None:
    job_id, other_id = add(store, "ann", "ann")
    for each in (job_id, other_id):
        store.append_event(each, Started())
        store.append_event(each, make_result())
    store.database.execute("UPDATE events SET event = ? WHERE job = ? AND seq = 2", (stored_event, job_id))
    first, unreadable = store.list_events(job_id)
    assert first.type == "started" and store.get_last_event(job_id) == unreadable
    assert isinstance(unreadable, Failed) and (unreadable.seq, unreadable.code) == (2, "unreadable")
    assert store.get_last_event(other_id).type == "result"


@pytest.mark.parametrize(
    ("event", "state"),
    [(make_result(), "done"), (Failed(code="x", message="y"), "failed"), (Cancelled(), "cancelled")],
)
def test_the_last_event_ends_the_job(store: JobStore, event: Cancelled, state: str) -> None:
    (job_id,) = add(store, "ann")
    store.append_event(job_id, event)
    job = store.get(job_id)
    assert job.state == state and job.finished is not None
    assert store.list_queued() == []


def test_a_job_that_is_not_queued_any_more_does_not_start(store: JobStore) -> None:
    (job_id,) = add(store, "ann")
    store.append_event(job_id, Cancelled())
    store.start(job_id)
    assert store.get(job_id).state == "cancelled"
    assert [event.type for event in store.list_events(job_id)] == ["cancelled"]


def test_a_restart_keeps_what_was_queued_and_marks_what_was_running(tmp_path: Path) -> None:
    with closing(open_database(tmp_path / "jobs.sqlite")) as database:
        before = JobStore(database)
        running, queued, done = add(before, "ann", "ann", "bob")
        before.start(running)
        before.start(done)
        before.append_event(done, make_result())
    with closing(open_database(tmp_path / "jobs.sqlite")) as database:
        after = JobStore(database)
        after.interrupt_running()
        assert after.get(running).state == "failed"
        assert [event.type for event in after.list_events(running)] == ["started", "error"]
        assert after.list_queued() == [(queued, "ann")]
        assert after.list_served_owners() == ["ann", "bob"]
