"""Faults of the database, made from outside: jobs wait, nothing is lost, and all goes on when the cause is gone."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from imagegen.errors import DatabaseUnusable
from imagegen.schema.events import Progress, Result
from imagegen.storage import database
from imagegen.storage.storage import Storage, Tables
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio
from tests.unit.stored_jobs import read_job
from tests.unit.wait import wait_until_true

REQUEST = {"prompt": "a red circle", "steps": 2}


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InProcessStudio]:
    """A studio that waits for locks of its database for a short time only."""
    monkeypatch.setattr(database, "LOCK_TIMEOUT_SECONDS", 0.2)
    async with run_in_process_studio(tmp_path) as studio:
        yield studio


@contextmanager
def lock(file: Path) -> Iterator[None]:
    """Holds the write lock of a database, as another process would."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def post_job(studio: InProcessStudio) -> httpx.Response:
    return await studio.client_without_token.post("/v1/jobs", json=REQUEST)


async def get(studio: InProcessStudio, route: str) -> httpx.Response:
    return await studio.client_without_token.get(route)


async def wait_until_ready(studio: InProcessStudio) -> None:
    for _ in range(1000):
        if (await get(studio, "/readyz")).status_code == 200:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the studio did not recover")


async def test_a_lock_delays_no_other_request_and_a_refusal_says_when_to_try_again(studio: InProcessStudio) -> None:
    with lock(studio.service.storage.path):
        submitting = asyncio.create_task(post_job(studio))
        await asyncio.sleep(0.05)
        assert (await get(studio, "/healthz")).status_code == 200
        assert not submitting.done(), "the lock was not waited for, or /healthz was"
        refused = await submitting
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) > 0
        assert refused.json()["error"]["code"] == "storage_unavailable"
        assert "another program has locked it" in refused.json()["error"]["message"]
        ready = await get(studio, "/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "degraded")
        assert "locked" in ready.json()["problems"][0]
    await wait_until_ready(studio)
    assert (await post_job(studio)).status_code == 202


async def test_a_job_that_ends_during_a_lock_is_done_afterwards(studio: InProcessStudio) -> None:
    job_id = (await post_job(studio)).json()["id"]
    queued_id = (await post_job(studio)).json()["id"]
    with lock(studio.service.storage.path):
        studio.worker.emit_event(job_id, Progress(step=1, steps=2))
        studio.finish_job(job_id)
        await wait_until_true(lambda: studio.service.storage.problem is not None)
    await wait_until_true(lambda: read_job(studio.service, job_id).state == "done")
    await wait_until_true(lambda: studio.worker.current_job_id == queued_id)
    answer = (await get(studio, f"/v1/jobs/{job_id}")).json()
    assert answer["state"] == "done" and answer["result"]["id"]


async def test_a_job_that_cannot_start_during_a_lock_starts_afterwards(studio: InProcessStudio) -> None:
    first, second = [(await post_job(studio)).json()["id"] for _ in range(2)]
    with lock(studio.service.storage.path):
        studio.finish_job(first)
        await wait_until_true(lambda: studio.service.storage.problem is not None)
        assert studio.worker.current_job_id == first
    await wait_until_true(lambda: studio.worker.current_job_id == second)


async def test_a_job_that_is_cancelled_during_a_lock_does_not_start(studio: InProcessStudio) -> None:
    first, second, third = [(await post_job(studio)).json()["id"] for _ in range(3)]
    with lock(studio.service.storage.path):
        await studio.client_without_token.delete(f"/v1/jobs/{second}")
    studio.finish_job(first)
    await wait_until_true(lambda: studio.worker.current_job_id == third)
    assert read_job(studio.service, second).state == "cancelled"
    assert [order.job_id for order in studio.worker.submitted] == [first, third]


async def test_a_database_that_turns_read_only_refuses_jobs_and_says_so(studio: InProcessStudio) -> None:
    connection = studio.service.storage._threads._writer._connection
    connection.execute("PRAGMA query_only = ON")
    refused = await post_job(studio)
    assert refused.status_code == 503 and "read-only" in refused.json()["error"]["message"]
    connection.execute("PRAGMA query_only = OFF")
    await wait_until_ready(studio)


async def test_a_full_disk_refuses_jobs_with_507(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path, min_free_gb=1e9) as studio:
        refused = await post_job(studio)
        assert (refused.status_code, refused.json()["error"]["code"]) == (507, "insufficient_storage")
        ready = await get(studio, "/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "degraded")
        assert "disk is full" in ready.json()["problems"][0]


async def test_damaged_pages_are_an_error_of_the_request_and_not_of_the_studio(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path) as studio:
        ids = [(await post_job(studio)).json()["id"] for _ in range(10)]
        with closing(sqlite3.connect(studio.service.storage.path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with studio.service.storage.path.open("r+b") as file:
            size = file.seek(0, 2)
            file.seek(4096)
            file.write(b"\xff" * (size - 4096))
        answers = [await get(studio, f"/v1/jobs/{job_id}") for job_id in ids]
        assert {answer.status_code for answer in answers} <= {200, 503}
        assert (await get(studio, "/healthz")).status_code == 200


async def test_a_report_that_cannot_be_handled_fails_its_job_and_no_other(studio: InProcessStudio) -> None:
    first, second = [(await post_job(studio)).json()["id"] for _ in range(2)]
    studio.worker.emit_event(first, Result(pictures=(), latency_ms=1))
    await wait_until_true(lambda: studio.worker.current_job_id == second)
    studio.finish_job(second)
    await wait_until_true(lambda: read_job(studio.service, second).state == "done")


async def test_a_transaction_is_whole_or_not_at_all(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "jobs.sqlite")

    def fail(tables: Tables) -> None:
        tables.ownership.set_model_choice("ann", "embedded")
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        await storage.write(fail)
    assert await storage.read(lambda tables: tables.ownership.get_model_choice("ann")) is None
    storage.close()


async def test_an_error_of_our_own_sql_is_not_called_a_fault_of_the_disk(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "jobs.sqlite")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await storage.write(lambda tables: tables.jobs.database.execute("SELECT * FROM missing"))
    assert storage.problem is None
    storage.close()
    (tmp_path / "other.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(DatabaseUnusable, match="is damaged"):
        Storage(tmp_path / "other.sqlite")
