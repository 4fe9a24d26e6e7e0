"""All that belongs to a user, in all tables: counted, read, and removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from imagegen.schema.users import RemovedRows, UserUse
from imagegen.storage.database import Database
from imagegen.storage.pictures import PictureStore

TABLES_WITH_OWNERS = ("jobs", "pictures", "inputs", "choices", "keys", "answers", "albums")
SELECT_PICTURES = "SELECT id, job, created, favourite, receipt FROM pictures WHERE owner = ? AND deleted IS NULL"
SELECT_ALBUMS = "SELECT id, album FROM albums JOIN pictures ON picture = number WHERE albums.owner = ? ORDER BY album"
SELECT_JOBS = "SELECT id, state, created, started, finished, request FROM jobs WHERE owner = ? ORDER BY number"
REMOVE_EVENTS = "DELETE FROM events WHERE job IN (SELECT id FROM jobs WHERE owner = ?)"
# The index keeps the words of removed pictures until its parts are merged, https://www.sqlite.org/fts5.html.
MERGE_WORDS = "INSERT INTO picture_words (picture_words) VALUES ('optimize')"


@dataclass(frozen=True)
class StoredUser:
    """The rows of a user, in the order of their columns in the queries above. Receipts and requests are JSON."""

    pictures: list[tuple[str, str, float, int, str]]
    albums: list[tuple[str, str]]
    jobs: list[tuple[str, str, float, float | None, float | None, str]]
    input_ids: list[str]


class UserStore:
    """Users are named by their ids. A user is known as long as any row is theirs."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def list_uses(self, input_sizes: Mapping[str, int]) -> list[UserUse]:
        """Returns the use of each user, by id. `input_sizes` are those of the files of input pictures, in bytes."""
        sizes: Counter[str] = Counter()
        pictures, jobs = dict.fromkeys(self._list_owners(), 0), self._count_jobs()
        query = "SELECT owner, COUNT(*), TOTAL(size_bytes) FROM pictures GROUP BY owner"
        for owner, count, size_bytes in self.database.execute(query):
            pictures[owner], sizes[owner] = count, int(size_bytes)
        for owner, image_id in self.database.execute("SELECT owner, id FROM inputs"):
            sizes[owner] += input_sizes.get(image_id, 0)
        return [
            UserUse(id=owner, pictures=count, jobs=jobs[owner], size_bytes=sizes[owner])
            for owner, count in sorted(pictures.items())
        ]

    def is_known(self, owner: str) -> bool:
        queries = (f"EXISTS (SELECT 1 FROM {table} WHERE owner = :owner)" for table in TABLES_WITH_OWNERS)  # noqa: S608
        (is_known,) = self.database.execute(f"SELECT {' OR '.join(queries)}", {"owner": owner}).fetchone()
        return bool(is_known)

    def read(self, owner: str) -> StoredUser:
        """Returns the rows of a user, without pictures that were deleted."""
        return StoredUser(
            pictures=self.database.execute(SELECT_PICTURES, (owner,)).fetchall(),
            albums=self.database.execute(SELECT_ALBUMS, (owner,)).fetchall(),
            jobs=self.database.execute(SELECT_JOBS, (owner,)).fetchall(),
            input_ids=self.list_inputs(owner),
        )

    def list_pictures(self, owner: str) -> list[str]:
        """Returns the ids of all pictures of a user, also of those that were deleted."""
        return [each for (each,) in self.database.execute("SELECT id FROM pictures WHERE owner = ?", (owner,))]

    def list_inputs(self, owner: str) -> list[str]:
        """Returns the ids of the input pictures of a user."""
        return [each for (each,) in self.database.execute("SELECT id FROM inputs WHERE owner = ?", (owner,))]

    def remove(self, owner: str) -> RemovedRows:
        """Removes all rows of a user, and returns how many there were."""
        (albums,) = self.database.execute(
            "SELECT COUNT(DISTINCT album) FROM albums WHERE owner = ?", (owner,)
        ).fetchone()
        picture_ids = self.list_pictures(owner)
        PictureStore(self.database).remove(picture_ids)
        self.database.execute(MERGE_WORDS)
        self.database.execute(REMOVE_EVENTS, (owner,))
        counts = {
            table: self.database.execute(f"DELETE FROM {table} WHERE owner = ?", (owner,)).rowcount  # noqa: S608
            for table in TABLES_WITH_OWNERS
        }
        return RemovedRows(
            pictures=len(picture_ids),
            jobs=counts["jobs"],
            inputs=counts["inputs"],
            albums=albums,
            idempotency_keys=counts["keys"],
            cached_results=counts["answers"],
        )

    def _list_owners(self) -> set[str]:
        query = " UNION ".join(f"SELECT owner FROM {table}" for table in TABLES_WITH_OWNERS)  # noqa: S608
        return {owner for (owner,) in self.database.execute(query)}

    def _count_jobs(self) -> Counter[str]:
        return Counter(dict(self.database.execute("SELECT owner, COUNT(*) FROM jobs GROUP BY owner").fetchall()))
