"""A database used from two threads of its own: a lock or a slow disk delays nothing else on the event loop."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from imagegen.errors import StorageFull, StorageUnavailable
from imagegen.storage.database import PROBLEMS, Database, Migration, find_problem

T = TypeVar("T")


class DatabaseThreads:
    """Reads never wait for writes: each kind has its own connection and thread, and WAL mode keeps them apart."""

    def __init__(self, path: Path, migrations: Sequence[Migration]) -> None:
        """Opens or creates the database at `path`, migrates and checks it. Raises DatabaseTooNew, DatabaseUnusable."""
        self.path = path
        self._writer = Database(path, migrations)
        try:
            self._writer.check()
            self._reader = Database(path, migrations)
        except BaseException:
            self._writer.close()
            raise
        self._write_thread = ThreadPoolExecutor(1, f"{path.stem}-write")
        self._read_thread = ThreadPoolExecutor(1, f"{path.stem}-read")

    async def read(self, function: Callable[[Database], T]) -> T:
        """Returns what the function returns. Raises StorageUnavailable, and what the function raises."""
        return await run_in(self._read_thread, lambda: function(self._reader))

    async def write(self, function: Callable[[Database], T]) -> T:
        """Calls the function in one transaction, which is undone if it raises.

        Raises StorageUnavailable, StorageFull, and what the function raises.
        """

        def run() -> T:
            with self._writer.transaction():
                return function(self._writer)

        return await run_in(self._write_thread, run)

    async def compact(self) -> None:
        """Rewrites the file, so that nothing of what was removed is left in it. Needs free space of twice its size.

        Reads and writes wait meanwhile. Raises StorageUnavailable and StorageFull.
        """

        def run() -> None:
            self._writer.compact()
            # No other connection may read while the other file of WAL mode is emptied.
            if not self._read_thread.submit(self._reader.empty_log).result():
                raise StorageUnavailable(PROBLEMS["SQLITE_BUSY"][0])

        await run_in(self._write_thread, run)

    def close(self) -> None:
        """Waits for what has been begun, and closes the database."""
        for thread in (self._write_thread, self._read_thread):
            thread.shutdown()
        for database in (self._reader, self._writer):
            database.close()


async def run_in(thread: ThreadPoolExecutor, function: Callable[[], T]) -> T:
    """Returns what the function returns in the thread. A caller who is cancelled meanwhile does not undo it."""
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, function)
    except sqlite3.DatabaseError as error:
        raise translate_error(error) from error


def translate_error(error: sqlite3.DatabaseError) -> Exception:
    """Returns StorageFull or StorageUnavailable; the error itself if it says that our code is wrong."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        return StorageFull()
    problem = find_problem(error)
    return StorageUnavailable(problem[0]) if problem is not None else error
