"""The studio's database: jobs, pictures, and who owns what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from imagegen.errors import StorageUnavailable
from imagegen.storage.database import Database
from imagegen.storage.jobs import JobStore
from imagegen.storage.migrations import MIGRATIONS
from imagegen.storage.ownership import Ownership
from imagegen.storage.pictures import PictureStore
from imagegen.storage.threads import DatabaseThreads
from imagegen.storage.users import UserStore

T = TypeVar("T")


@dataclass(frozen=True)
class Tables:
    """All tables, through one connection. One thread at a time may use them."""

    jobs: JobStore
    ownership: Ownership
    pictures: PictureStore
    users: UserStore


class Storage:
    """Reads and writes all tables, and knows whether the last write failed."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the database at `path`, migrates and checks it. Raises DatabaseTooNew, DatabaseUnusable."""
        self.path = path
        self._threads = DatabaseThreads(path, MIGRATIONS)
        # Why the last write failed; None after a success. `on_problem` is called when it has just failed.
        self.problem: StorageUnavailable | None = None
        self.on_problem: Callable[[], None] = lambda: None

    async def read(self, function: Callable[[Tables], T]) -> T:
        """Returns what the function returns. Raises StorageUnavailable, and what the function raises."""
        return await self._threads.read(lambda database: function(get_tables(database)))

    async def write(self, function: Callable[[Tables], T]) -> T:
        """Calls the function in one transaction, which is undone if it raises.

        Raises StorageUnavailable, StorageFull, and what the function raises.
        """
        try:
            result = await self._threads.write(lambda database: function(get_tables(database)))
        except StorageUnavailable as error:
            was_well, self.problem = self.problem is None, error
            if was_well:
                self.on_problem()
            raise
        self.problem = None
        return result

    async def check(self) -> None:
        """Finds out whether the database can be written again, if the last write failed. Raises StorageUnavailable."""
        if self.problem is not None:
            await self.write(lambda tables: tables.jobs.database.touch())

    async def compact(self) -> None:
        """Rewrites the database without what was removed. Raises StorageUnavailable and StorageFull."""
        await self._threads.compact()

    def list_copies(self) -> list[str]:
        """Returns the names of the copies of the database that migrations and recoveries have made."""
        return sorted(file.name for file in self.path.parent.glob(f"{self.path.stem}.*{self.path.suffix}"))

    def close(self) -> None:
        """Waits for what has been begun, and closes the database."""
        self._threads.close()


def get_tables(database: Database) -> Tables:
    return Tables(JobStore(database), Ownership(database), PictureStore(database), UserStore(database))
