"""`--recover`: what can be read of a damaged database is kept, and so is the damaged file."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from imagegen.errors import DatabaseTooNew, DatabaseUnusable
from imagegen.schema.events import FINAL_EVENTS, Failed, Queued, Started
from imagegen.schema.request import GenerationRequest
from imagegen.storage.files import ImageStore
from imagegen.storage.job_repair import repair_jobs
from imagegen.storage.jobs import JobStore
from imagegen.storage.migrations import MIGRATIONS
from imagegen.storage.pictures import PictureStore
from imagegen.storage.recovery import Recovery, recover_database
from imagegen.storage.storage import Storage
from tests.doubles import make_result, make_sources
from tests.unit.stored_jobs import open_database

SOURCES = make_sources()
JOBS = 200
PAGE_BYTES = 4096
# The first byte of a page with rows of a table (https://www.sqlite.org/fileformat.html, section 1.6).
TABLE_LEAF = 0x0D
REQUEST = GenerationRequest(prompt="a red circle " * 20, seed=7)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with jobs in the order in which a studio stores them; the last job is still queued.

    It is in a folder of its own; the files of its pictures are elsewhere.
    """
    path = tmp_path / "database" / "jobs.sqlite"
    path.parent.mkdir()
    images = ImageStore(tmp_path)
    with closing(open_database(path)) as database, database.transaction():
        jobs = JobStore(database)
        for number in range(JOBS):
            job = jobs.add(REQUEST, "ann", SOURCES)
            jobs.append_event(job.id, Queued(position=0))
            if number < JOBS - 1:
                jobs.start(job.id)
                result = make_result(f"{number:032x}")
                jobs.append_event(job.id, result)
                images.picture_path(result.pictures[0].id).touch()
                PictureStore(database).add("ann", job.id, result.pictures)
    return path


def recover(path: Path) -> Recovery | None:
    return recover_database(path, MIGRATIONS, partial(repair_jobs, images=open_images(path)))


def open_images(path: Path) -> ImageStore:
    """Returns the pictures that go with the database of the fixture."""
    return ImageStore(path.parents[1])


def overwrite_page(path: Path, number: int) -> None:
    with path.open("r+b") as file:
        file.seek(number * PAGE_BYTES)
        file.write(random.Random(number).randbytes(PAGE_BYTES))


def overwrite_middle(path: Path) -> None:
    """Overwrites the first page after the middle that has rows of a table: one above such pages costs more."""
    content = path.read_bytes()
    pages = range(len(content) // PAGE_BYTES // 2, len(content) // PAGE_BYTES)
    overwrite_page(path, next(page for page in pages if content[page * PAGE_BYTES] == TABLE_LEAF))


def overwrite_several(path: Path) -> None:
    for part in (3, 4, 5):
        overwrite_page(path, path.stat().st_size // PAGE_BYTES * part // 8)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 3 // 4 + 100)


DAMAGES = [overwrite_middle, overwrite_several, truncate, lambda path: overwrite_page(path, 0)]


@pytest.mark.parametrize("damage", DAMAGES, ids=["middle page", "several pages", "truncated", "first page"])
def test_most_of_a_damaged_database_is_kept(path: Path, damage: Callable[[Path], None]) -> None:
    damage(path)
    damaged = path.read_bytes()
    with pytest.raises(DatabaseUnusable, match="it is damaged") as refused:
        Storage(path)
    assert str(path) in str(refused.value) and "--recover" in str(refused.value)
    recovery = recover(path)
    assert recovery is not None
    assert recovery.kept["jobs"] > JOBS / 3 and recovery.kept["events"] > JOBS / 3
    assert recovery.damaged_file == path.with_name("jobs.damaged-1.sqlite")
    assert recovery.damaged_file.read_bytes() == damaged
    assert sorted(file.name for file in path.parent.iterdir()) == ["jobs.damaged-1.sqlite", "jobs.sqlite"]
    Storage(path).close()
    assert recover(path) is None, "it is whole now"


@pytest.mark.parametrize("damage", DAMAGES, ids=["middle page", "several pages", "truncated", "first page"])
def test_each_kept_job_has_events_that_fit_its_state(path: Path, damage: Callable[[Path], None]) -> None:
    damage(path)
    recover(path)
    with closing(open_database(path)) as database:
        jobs = JobStore(database)
        ids = [job_id for (job_id,) in database.execute("SELECT id FROM jobs")]
        for job_id in ids:
            job, last = jobs.get(job_id), jobs.get_last_event(job_id)
            assert job.request == REQUEST and job.sources == SOURCES
            assert isinstance(last, FINAL_EVENTS) == (job.state in ("done", "failed"))
        orphans = database.execute("SELECT 1 FROM events WHERE job NOT IN (SELECT id FROM jobs)").fetchall()
        assert orphans == []


def test_one_damaged_page_costs_only_its_own_rows(path: Path) -> None:
    overwrite_middle(path)
    recovery = recover(path)
    assert recovery is not None
    assert recovery.kept["jobs"] > JOBS - 20 and recovery.kept["pictures"] > JOBS - 20
    assert recovery.kept["events"] > 3 * JOBS - 60


def test_a_job_whose_result_is_lost_has_failed(path: Path) -> None:
    with closing(open_database(path)) as database:
        (job_id,) = database.execute("SELECT id FROM jobs WHERE state = 'done'").fetchone()
        database.execute("DELETE FROM events WHERE job = ? AND seq = 3", (job_id,))
        repair_jobs(database, open_images(path))
        jobs = JobStore(database)
        assert jobs.get(job_id).state == "failed"
        last = jobs.get_last_event(job_id)
        assert isinstance(last, Failed) and last.code == "result_lost"


def test_a_picture_whose_record_is_lost_belongs_to_the_owner_of_its_job(path: Path) -> None:
    with closing(open_database(path)) as database:
        database.execute("DELETE FROM pictures WHERE id = ?", (f"{7:032x}",))
        repair_jobs(database, open_images(path))
        pictures = PictureStore(database)
        assert pictures.owns("ann", f"{7:032x}") and not pictures.owns("bob", f"{7:032x}")


def test_a_picture_that_was_deleted_stays_so(path: Path) -> None:
    """Its file and its record are gone; the result of its job still names it."""
    images, deleted, other = open_images(path), f"{7:032x}", f"{8:032x}"
    images.delete_picture(deleted)
    with closing(open_database(path)) as database:
        PictureStore(database).remove([deleted])
    overwrite_middle(path)
    recover(path)
    with closing(open_database(path)) as database:
        pictures = PictureStore(database)
        assert pictures.owns("ann", other) and not pictures.owns("ann", deleted)


def test_changes_that_are_in_the_write_ahead_log_alone_are_kept(path: Path) -> None:
    database = open_database(path)
    jobs = JobStore(database)
    late = jobs.add(REQUEST, "bob", SOURCES)
    jobs.append_event(late.id, Queued(position=0))
    jobs.append_event(late.id, Started())
    log = path.with_name("jobs.sqlite-wal")
    contents = {file: file.read_bytes() for file in (path, log)}
    database.close()
    for file, content in contents.items():  # As after a power failure.
        file.write_bytes(content)
    overwrite_middle(path)
    recovery = recover(path)
    assert recovery is not None
    assert recovery.damaged_file.with_name("jobs.damaged-1.sqlite-wal").read_bytes() == contents[log]
    with closing(open_database(path)) as database:
        assert JobStore(database).get(late.id).owner == "bob"


def test_a_database_of_an_older_version_gets_todays_tables(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(str(MIGRATIONS[0][1]))
        rows = [(f"{n:032x}", "ann", REQUEST.model_dump_json()) for n in range(50)]
        old.executemany("INSERT INTO jobs (id, owner, request, state, created) VALUES (?, ?, ?, 'queued', 1)", rows)
        old.execute("PRAGMA user_version = 1")
        old.commit()
    overwrite_page(path, path.stat().st_size // PAGE_BYTES - 2)
    recovery = recover(path)
    assert recovery is not None and recovery.kept["jobs"] > 20
    with closing(open_database(path)) as database:
        assert database.version == MIGRATIONS[-1][0]
        assert JobStore(database).get(rows[0][0]).sources is None


@pytest.mark.parametrize("content", [b"SQLite format 3\0", b"no database" * 1000])
def test_a_file_of_which_nothing_can_be_read_is_kept_beside_an_empty_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "jobs.sqlite"
    path.write_bytes(content)
    with pytest.raises(DatabaseUnusable, match="it is damaged"):
        Storage(path)
    recovery = recover(path)
    assert recovery is not None and recovery.kept.total() == 0
    assert recovery.damaged_file.read_bytes() == content
    Storage(path).close()


def test_a_whole_database_and_a_missing_one_are_left_alone(path: Path) -> None:
    before = path.read_bytes()
    assert recover(path) is None
    assert path.read_bytes() == before
    assert recover(path.with_name("missing.sqlite")) is None
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_two_damages_are_kept_beside_each_other(path: Path) -> None:
    for number in (1, 2):
        overwrite_page(path, 0)
        recovery = recover(path)
        assert recovery is not None and recovery.damaged_file.name == f"jobs.damaged-{number}.sqlite"


def test_a_damaged_database_of_a_newer_studio_is_refused(path: Path) -> None:
    with closing(open_database(path)) as database:
        database.execute("PRAGMA user_version = 99")
    overwrite_middle(path)
    with pytest.raises(DatabaseTooNew):
        recover(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
