"""Recovers a damaged database: what can be read goes into a new one, and the damaged file is kept beside it."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imagegen.errors import DatabaseTooNew, DatabaseUnusable
from imagegen.storage.database import MIN_BYTES, Database, Migration, find_problem

READ_BATCH = 1000
# Beside the file, SQLite keeps a log with changes that are not in the file yet, and an index of the log.
SIDE_FILES = ("-wal", "-shm")
DAMAGED_TEXT = "\0"
PAGE_BYTES = 4096
PAGE_COUNT_OFFSET = 28


@dataclass(frozen=True)
class Recovery:
    """How many rows of each table were kept, and where the damaged file is now."""

    kept: Counter[str]
    damaged_file: Path


def recover_database(
    path: Path, migrations: Sequence[Migration], repair: Callable[[Database], None] = lambda database: None
) -> Recovery | None:
    """Replaces a damaged database by a new one with the rows that can be read. Returns None if it is not damaged.

    `repair` is called with the new database before it replaces the old one. Raises DatabaseTooNew, OSError, and
    DatabaseUnusable for problems other than damage.
    """
    if not path.exists() or not is_damaged(path):
        return None
    check_version(path, migrations[-1][0])
    damaged_file = keep_copy(path)
    partial = path.with_name(f"{path.name}.partial")
    remove_database(partial)
    Database(partial, migrations).close()
    first_page = partial.read_bytes()[:PAGE_BYTES]
    with closing(Database(partial, migrations)) as new, readable_copy(path, first_page) as source, new.transaction():
        copy_rows(source, new)
        repair(new)
        kept = Counter({table: count_rows(new, table) for table in list_tables(new)})
    for suffix in SIDE_FILES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    partial.replace(path)
    return Recovery(kept, damaged_file)


def is_damaged(path: Path) -> bool:
    """Reads the whole file. Raises DatabaseUnusable for problems other than damage."""
    if 0 < path.stat().st_size < MIN_BYTES:
        return True
    try:
        with closing(connect_to_damaged(path)) as database:
            (result,) = database.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return True
        problem = find_problem(error)
        if problem is None:
            raise
        raise DatabaseUnusable(path, *problem) from error
    return bool(result != "ok")


def check_version(path: Path, latest: int) -> None:
    """Raises DatabaseTooNew, unless the version cannot be read either."""
    try:
        with closing(connect_to_damaged(path)) as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError:
        return
    if version > latest:
        raise DatabaseTooNew(str(path), version, latest)


def is_damage(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def keep_copy(path: Path) -> Path:
    """Copies the database as it is, with its write-ahead log, to `jobs.damaged-1.sqlite` or the next free number."""
    number = 1
    while (target := path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")).exists():
        number += 1
    copy_database_files(path, target)
    return target


def copy_database_files(path: Path, target: Path) -> None:
    """Copies the file and its write-ahead log, if there is one."""
    for suffix in ("", "-wal"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            shutil.copy2(source, target.with_name(target.name + suffix))


@contextmanager
def readable_copy(path: Path, first_page: bytes) -> Iterator[Path]:
    """Returns the database itself, or, if its list of tables cannot be read, a copy with the given first page.

    The first page of a new database has the same list: the same migrations put the tables into the same pages.
    """
    if is_table_list_readable(path):
        yield path
        return
    copy = path.with_name(f"{path.name}.copy")
    remove_database(copy)
    try:
        copy_database_files(path, copy)
        with copy.open("r+b") as file:
            file.write(first_page)
            file.seek(PAGE_COUNT_OFFSET)
            file.write(bytes(4))  # SQLite then counts the pages by the size of the file.
        yield copy
    finally:
        remove_database(copy)


def is_table_list_readable(path: Path) -> bool:
    try:
        with closing(connect_to_damaged(path)) as database:
            database.execute("SELECT sql FROM sqlite_master").fetchall()
    except sqlite3.DatabaseError:
        return False
    return True


def connect_to_damaged(path: Path) -> sqlite3.Connection:
    """Returns a connection that changes nothing: another one would move changes from the log into the file."""
    # Without "immutable", SQLite would create a log.
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    database = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)
    # Without this, SQLite refuses a file that is shorter than its header says.
    database.execute("PRAGMA writable_schema = ON")
    database.text_factory = decode_text
    return database


def decode_text(raw: bytes) -> str:
    """Returns DAMAGED_TEXT for what no studio has stored: text with a zero byte, or that is not UTF-8."""
    if b"\0" in raw:
        return DAMAGED_TEXT
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return DAMAGED_TEXT


def remove_database(path: Path) -> None:
    for suffix in ("", *SIDE_FILES):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def copy_rows(path: Path, new: Database) -> None:
    """Adds what can be read of the tables in the file at `path` to those of the new database."""
    with closing(connect_to_damaged(path)) as damaged:
        for table in list_tables(new):
            columns = [name for name in list_columns(new, table) if name in list_columns(damaged, table)]
            if columns:
                copy_table(damaged, new, table, columns)


def copy_table(damaged: sqlite3.Connection, new: Database, table: str, columns: list[str]) -> None:
    """Adds the rows before the first damaged page and those after the last one, in the order of the primary key."""
    insert = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608
    for direction in ("ASC", "DESC"):
        for rows in read_rows(damaged, table, columns, list_key(new, table), direction):
            new.execute_many(insert, rows)


def read_rows(
    damaged: sqlite3.Connection, table: str, columns: list[str], key: list[str], direction: Literal["ASC", "DESC"]
) -> Iterator[list[tuple[object, ...]]]:
    """Yields rows in batches until an error. Leaves out those with a damaged text."""
    order = ", ".join(f"{name} {direction}" for name in key)
    # An index may be damaged, too: the rows themselves are read.
    query = f"SELECT {', '.join(columns)} FROM {table} NOT INDEXED ORDER BY {order}"  # noqa: S608
    rows: list[tuple[object, ...]] = []
    try:
        for row in damaged.execute(query):
            if DAMAGED_TEXT in row:
                continue
            rows.append(row)
            if len(rows) == READ_BATCH:
                yield rows
                rows = []
    except sqlite3.DatabaseError:
        pass
    yield rows


def list_tables(database: Database) -> list[str]:
    """Returns the names of all tables of our own, without indexes of words, which are made again from the rest."""
    rows = database.execute(
        "SELECT name FROM pragma_table_list WHERE type = 'table' AND schema = 'main' AND name NOT LIKE 'sqlite_%'"
    )
    return [name for (name,) in rows]


def list_columns(database: Database | sqlite3.Connection, table: str) -> list[str]:
    """Returns the names of the columns of a table; none if it cannot be read."""
    try:
        return [name for (name,) in database.execute("SELECT name FROM pragma_table_info(?)", (table,))]
    except sqlite3.DatabaseError:
        return []


def list_key(database: Database, table: str) -> list[str]:
    """Returns the columns of the primary key of a table, in its order."""
    query = "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk"
    return [name for (name,) in database.execute(query, (table,))]


def count_rows(database: Database, table: str) -> int:
    (count,) = database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()  # noqa: S608
    return int(count)
