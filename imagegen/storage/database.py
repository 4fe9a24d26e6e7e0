"""A SQLite file with a version. Opening it brings its tables up to the version that the code needs."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from imagegen.errors import DatabaseTooNew, DatabaseUnusable

logger = logging.getLogger(__name__)

# A database is not smaller than one page, and no page is smaller than this.
MIN_BYTES = 512
# How long a statement waits for a lock of another process.
LOCK_TIMEOUT_SECONDS = 2.0

# What the errors of SQLite mean, by the first words of their names, and what the operator can do at the start.
DAMAGED = "it is damaged"
USE_ANOTHER_FOLDER = "Check its permissions and its disk, or choose another folder with --data-dir."
RECOVER = "Start with --recover to keep what can be read of it, or replace it with a backup."
PROBLEMS = {
    "SQLITE_BUSY": ("another program has locked it", "End that program, and start again."),
    "SQLITE_LOCKED": ("another program has locked it", "End that program, and start again."),
    "SQLITE_READONLY": ("it is read-only", USE_ANOTHER_FOLDER),
    "SQLITE_CORRUPT": (DAMAGED, RECOVER),
    "SQLITE_NOTADB": (DAMAGED, RECOVER),
    "SQLITE_IOERR": ("the disk fails", USE_ANOTHER_FOLDER),
    "SQLITE_CANTOPEN": ("it cannot be opened", USE_ANOTHER_FOLDER),
    "SQLITE_FULL": ("the disk is full", "Free some space, and start again."),
}

# The version that a migration leads to, and its SQL or its function.
Migration = tuple[int, str | Callable[[sqlite3.Connection], None]]


class Database:
    """Wraps one connection, in WAL mode. One thread at a time may use it.

    Outside of `transaction`, each statement is a transaction of its own.

    `PRAGMA user_version` is the version of the tables: 0 for a new file, and for one from before versions.
    """

    def __init__(self, path: Path, migrations: Sequence[Migration]) -> None:
        """Opens or creates the file, and runs all pending migrations in one transaction.

        A file that holds tables already is copied first; see build_backup_path. Raises DatabaseTooNew and
        DatabaseUnusable.
        """
        self.path = path
        if path.exists() and 0 < path.stat().st_size < MIN_BYTES:  # SQLite would take it for a new file.
            raise DatabaseUnusable(path, DAMAGED, RECOVER)
        with translate_errors(path):
            self._connection = sqlite3.connect(
                path, timeout=LOCK_TIMEOUT_SECONDS, check_same_thread=False, isolation_level=None
            )
            try:
                self._open(migrations)
            except BaseException:
                self.close()
                raise

    @property
    def version(self) -> int:
        row: tuple[int] = self.execute("PRAGMA user_version").fetchone()
        return row[0]

    def touch(self) -> None:
        """Writes to the file without changing anything. Raises sqlite3.Error when it cannot be written."""
        self.execute(f"PRAGMA user_version = {self.version}")

    def check(self) -> None:
        """Reads all pages, without their indexes. Raises DatabaseUnusable if any is damaged."""
        with translate_errors(self.path):
            (result,) = self.execute("PRAGMA quick_check(1)").fetchone()
        if result != "ok":
            raise DatabaseUnusable(self.path, DAMAGED, RECOVER)

    def compact(self) -> None:
        """Writes all rows into a new file, which has nothing of removed ones. Raises sqlite3.Error."""
        self.execute("VACUUM")

    def empty_log(self) -> bool:
        """Moves what is in the write-ahead log into the file, and empties the log.

        Returns False if another connection uses the log. Raises sqlite3.Error.
        """
        is_busy: tuple[int, int, int] = self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not is_busy[0]

    def close(self) -> None:
        self._connection.close()

    def execute(self, sql: str, values: Sequence[object] | Mapping[str, object] = ()) -> sqlite3.Cursor:
        """Runs one statement. Raises sqlite3.Error."""
        return self._connection.execute(sql, values)

    def execute_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Runs one statement for each row of values. Raises sqlite3.Error."""
        self._connection.executemany(sql, rows)

    def _open(self, migrations: Sequence[Migration]) -> None:
        latest = migrations[-1][0]
        if self.version > latest:
            raise DatabaseTooNew(str(self.path), self.version, latest)
        self.execute("PRAGMA journal_mode = WAL")
        self.execute("PRAGMA synchronous = NORMAL")
        if self.version < latest:
            with self.transaction():
                self._migrate(migrations)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Holds a transaction that no other connection can write beside. An error undoes all of it."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # Some errors, such as a full disk, have undone it already.
                self.execute("ROLLBACK")
            raise

    def _migrate(self, migrations: Sequence[Migration]) -> None:
        # Read again under the lock: another process may have migrated the file meanwhile.
        old_version = self.version
        pending = [migration for migration in migrations if migration[0] > old_version]
        if pending and self._has_tables():
            backup = build_backup_path(self.path, old_version)
            copy_database(self.path, backup)
            details = {"file": str(self.path), "from_version": old_version, "backup": str(backup)}
            logger.info("Migrating a database", extra={"action": "database_migration", **details})
        for version, change in pending:
            apply_migration(self._connection, change)
            self.execute(f"PRAGMA user_version = {version}")

    def _has_tables(self) -> bool:
        return self.execute("SELECT 1 FROM sqlite_master").fetchone() is not None


def find_problem(error: sqlite3.DatabaseError) -> tuple[str, str] | None:
    """Returns the problem and what to do about it; None if the error says that our code is wrong."""
    name = getattr(error, "sqlite_errorname", "")
    return next((problem for prefix, problem in PROBLEMS.items() if name.startswith(prefix)), None)


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Raises DatabaseUnusable for errors of SQLite that are not of our code."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        problem = find_problem(error)
        if problem is None:
            raise
        raise DatabaseUnusable(path, *problem) from error


def build_backup_path(path: Path, version: int) -> Path:
    """Returns where the copy of a database goes before its migration: `jobs.version-0-backup.sqlite` beside it."""
    return path.with_name(f"{path.stem}.version-{version}-backup{path.suffix}")


def copy_database(path: Path, target: Path) -> None:
    """Writes the last committed state of a database to `target`, whole or not at all; replaces an older copy.

    The file alone would not do: in WAL mode the latest changes are in another one. Raises sqlite3.Error and OSError.
    """
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(partial)) as copy:
            source.backup(copy)
        shutil.copymode(path, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def apply_migration(connection: sqlite3.Connection, change: str | Callable[[sqlite3.Connection], None]) -> None:
    if not isinstance(change, str):
        change(connection)
        return
    for statement in split_statements(change):
        connection.execute(statement)


def split_statements(script: str) -> Iterator[str]:
    """Yields the statements of a script, each of which ends with its line.

    `executescript` would commit the transaction that the migration runs in.
    """
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement
