"""Databases have versions: old ones are migrated after a copy, newer ones are refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from imagegen.access import sessions
from imagegen.errors import DatabaseTooNew
from imagegen.schema.events import Failed, Queued, Started
from imagegen.schema.pictures import LibraryUse, PictureQuery
from imagegen.schema.receipt import UsedLora
from imagegen.schema.request import GenerationRequest
from imagegen.storage import migrations
from imagegen.storage.database import Database, Migration
from imagegen.storage.jobs import JobStore
from imagegen.storage.ownership import Ownership
from imagegen.storage.pictures import PictureStore
from tests.doubles import make_result
from tests.unit.stored_jobs import open_database

REQUEST = GenerationRequest(prompt="Ein Kreis 🔴", seed=7)
RESULT = make_result(loras=(UsedLora(lora="style", weight=0.5, sha256="5" * 64),))
# What the studio wrote before its databases had versions.
TABLES_OF_VERSION_0 = """
PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    request TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued',
    created REAL NOT NULL,
    started REAL,
    finished REAL
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, owner, number);
CREATE INDEX IF NOT EXISTS jobs_by_owner ON jobs (owner, started);
CREATE TABLE IF NOT EXISTS events (
    job TEXT NOT NULL REFERENCES jobs (id),
    seq INTEGER NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (job, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pictures (id TEXT PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inputs (id TEXT, owner TEXT, PRIMARY KEY (id, owner)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS choices (owner TEXT PRIMARY KEY, model TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (
    owner TEXT, key TEXT, request TEXT NOT NULL, job TEXT NOT NULL, PRIMARY KEY (owner, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
    owner TEXT, digest TEXT, job TEXT NOT NULL, PRIMARY KEY (owner, digest)
) WITHOUT ROWID;
"""
ROWS_OF_VERSION_0: dict[str, list[tuple[object, ...]]] = {
    "jobs": [
        (1, "a" * 32, "ann", REQUEST.model_dump_json(), "done", 1.5, 2.5, 3.5),
        (2, "b" * 32, "ann", REQUEST.model_dump_json(), "running", 4.5, 5.5, None),
        (3, "c" * 32, "bob", REQUEST.model_dump_json(), "queued", 6.5, None, None),
        (4, "d" * 32, "bob", REQUEST.model_dump_json(), "failed", 7.5, 8.5, 9.5),
    ],
    "events": [
        ("a" * 32, 1, Queued(seq=1, position=0).model_dump_json()),
        ("a" * 32, 2, Started(seq=2).model_dump_json()),
        ("a" * 32, 3, RESULT.model_copy(update={"seq": 3}).model_dump_json()),
        ("b" * 32, 1, Queued(seq=1, position=0).model_dump_json()),
        ("c" * 32, 1, Queued(seq=1, position=1).model_dump_json()),
        ("d" * 32, 1, Failed(seq=1, code="job_failed", message="It failed.").model_dump_json()),
    ],
    "pictures": [("0" * 32, "ann"), ("9" * 32, "bob")],
    "inputs": [("1" * 64, "ann"), ("1" * 64, "bob")],
    "choices": [("ann", "sd-1.5")],
    "keys": [("ann", "a key", REQUEST.model_dump_json(), "a" * 32)],
    "answers": [("ann", "2" * 64, "a" * 32)],
}
NAME_TABLE = "CREATE TABLE names (name TEXT);"


def write_database_of_version_0(path: Path) -> None:
    """Leaves the rows in the write-ahead log, as a studio does that was killed: the file alone has none of them."""
    writer = sqlite3.connect(path, isolation_level=None)
    writer.executescript(TABLES_OF_VERSION_0)
    for table, rows in ROWS_OF_VERSION_0.items():
        writer.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    files = [path, path.with_name(f"{path.name}-wal")]
    contents = [file.read_bytes() for file in files]
    writer.close()
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)


def read_rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Returns the rows of all old tables, of each row the columns that it had in version 0."""
    with closing(sqlite3.connect(path)) as database, closing(sqlite3.connect(":memory:")) as old:
        old.executescript(TABLES_OF_VERSION_0)
        columns = {
            table: ", ".join(name for (name,) in old.execute("SELECT name FROM pragma_table_info(?)", (table,)))
            for table in ROWS_OF_VERSION_0
        }
        return {
            table: database.execute(f"SELECT {names} FROM {table} ORDER BY 1, 2").fetchall()
            for table, names in columns.items()
        }


def read_version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        row: tuple[int] = database.execute("PRAGMA user_version").fetchone()
        return row[0]


def open_and_close(path: Path, steps: Sequence[Migration]) -> None:
    Database(path, steps).close()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "jobs.sqlite"
    write_database_of_version_0(path)
    return path


def test_a_database_from_before_versions_loses_nothing(old: Path) -> None:
    database = open_database(old)
    assert database.version == migrations.MIGRATIONS[-1][0]
    database.close()
    assert read_rows(old) == ROWS_OF_VERSION_0


def test_the_code_reads_what_an_older_studio_stored(old: Path) -> None:
    jobs = JobStore(open_database(old))
    ownership = Ownership(jobs.database)
    assert [jobs.get(each * 32).state for each in "abcd"] == ["done", "running", "queued", "failed"]
    assert jobs.get("c" * 32).request == REQUEST
    assert jobs.get_last_event("a" * 32) == RESULT.model_copy(update={"seq": 3})
    pictures = PictureStore(jobs.database)
    assert ownership.owns_input("bob", "1" * 64)
    assert pictures.owns("ann", "0" * 32) and not pictures.owns("bob", "0" * 32)
    assert ownership.get_model_choice("ann") == "sd-1.5"
    assert ownership.get_keyed_request("ann", "a key") == (REQUEST, "a" * 32)
    assert ownership.get_cached_job("ann", "2" * 64) == "a" * 32
    jobs.database.close()


def test_old_pictures_are_in_the_library(old: Path) -> None:
    file = old.parent / "pictures" / f"{'0' * 32}.png"
    file.parent.mkdir()
    file.write_bytes(b"a picture")
    pictures = PictureStore(open_database(old))
    (picture,) = pictures.search("ann", PictureQuery(search="circle", lora="style"))
    assert picture.receipt == RESULT.pictures[0].receipt
    assert (picture.id, picture.created, picture.job_id) == ("0" * 32, 3.5, "a" * 32)
    assert pictures.count_use("ann") == LibraryUse(pictures=1, size_bytes=9)
    (other,) = pictures.search("bob", PictureQuery())
    assert other.id == "9" * 32 and other.receipt is None, "its job is unknown"
    pictures.database.close()


def test_the_copy_beside_it_is_the_whole_old_database(old: Path) -> None:
    old.chmod(0o600)
    open_database(old).close()
    copy = old.with_name("jobs.version-0-backup.sqlite")
    assert read_version(copy) == 0
    assert read_rows(copy) == ROWS_OF_VERSION_0
    assert copy.stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in old.parent.iterdir()) == [old.name, copy.name]


def test_a_new_database_and_one_of_today_are_not_copied(tmp_path: Path) -> None:
    for _ in range(2):
        open_database(tmp_path / "jobs.sqlite").close()
    assert [file.name for file in tmp_path.iterdir()] == ["jobs.sqlite"]


@pytest.mark.parametrize("steps", [migrations.MIGRATIONS, sessions.MIGRATIONS], ids=["jobs", "sessions"])
def test_versions_count_up_from_1(steps: list[Migration]) -> None:
    assert [version for version, _ in steps] == list(range(1, len(steps) + 1))


def test_sessions_of_an_older_studio_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript(
            "PRAGMA journal_mode = WAL;"
            "CREATE TABLE IF NOT EXISTS sessions (id BLOB PRIMARY KEY, name TEXT NOT NULL, organisations TEXT NOT NULL,"
            " administrator INTEGER NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;"
            "INSERT INTO sessions VALUES (x'00', 'ann', '[]', 0, 1e12);"
        )
    sessions.SessionStore(path, b"secret").close()
    assert read_version(path) == sessions.MIGRATIONS[-1][0]
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT * FROM sessions").fetchall() == [(b"\0", "ann", "[]", 0, 1e12, "")]


def test_pending_migrations_alone_run_in_order(tmp_path: Path) -> None:
    path = tmp_path / "names.sqlite"
    open_and_close(path, [(1, NAME_TABLE)])

    def add_name(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO names (name, length) VALUES ('ann', 3)")

    later: list[Migration] = [(1, NAME_TABLE), (2, "ALTER TABLE names ADD COLUMN length INTEGER;"), (3, add_name)]
    database = Database(path, later)
    assert database.version == 3
    assert database.execute("SELECT * FROM names").fetchall() == [("ann", 3)]
    database.close()
    assert (tmp_path / "names.version-1-backup.sqlite").exists()


def test_a_migration_that_fails_undoes_those_before_it(tmp_path: Path) -> None:
    path = tmp_path / "names.sqlite"
    open_and_close(path, [(1, NAME_TABLE)])
    failing = "CREATE TABLE others (name TEXT);\nINSERT INTO nowhere VALUES (1);"
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        open_and_close(path, [(1, NAME_TABLE), (2, "INSERT INTO names VALUES ('ann');"), (3, failing)])
    assert read_version(path) == 1
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT * FROM names").fetchall() == []
        assert [name for (name,) in database.execute("SELECT name FROM sqlite_master")] == ["names"]


def test_a_database_of_a_newer_studio_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    open_and_close(path, [(1, NAME_TABLE), (99, "INSERT INTO names VALUES ('ann');")])
    before = path.read_bytes()
    with pytest.raises(DatabaseTooNew, match="has version 99 and this studio reads up to") as refused:
        open_database(path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
