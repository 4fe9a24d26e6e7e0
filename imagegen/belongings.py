"""What belongs to whom besides jobs: pictures, uploads, the keys of requests, answers, and the model of choice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

SCHEMA = """
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


class Belongings:
    """Users are named by their ids. Two users may bring the same upload, which is then kept once for both."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database
        database.executescript(SCHEMA)

    def add_pictures(self, owner: str, picture_ids: Iterable[str]) -> None:
        rows = [(picture_id, owner) for picture_id in picture_ids]
        self.database.executemany("INSERT OR IGNORE INTO pictures VALUES (?, ?)", rows)

    def add_input(self, owner: str, image_id: str) -> None:
        self.database.execute("INSERT OR IGNORE INTO inputs VALUES (?, ?)", (image_id, owner))

    def owns_picture(self, owner: str, picture_id: str) -> bool:
        return self._has("SELECT 1 FROM pictures WHERE owner = ? AND id = ?", owner, picture_id)

    def owns_input(self, owner: str, image_id: str) -> bool:
        return self._has("SELECT 1 FROM inputs WHERE owner = ? AND id = ?", owner, image_id)

    def chosen_model(self, owner: str) -> str | None:
        row = self.database.execute("SELECT model FROM choices WHERE owner = ?", (owner,)).fetchone()
        return row[0] if row else None

    def choose_model(self, owner: str, model: str) -> None:
        self.database.execute("INSERT OR REPLACE INTO choices VALUES (?, ?)", (owner, model))

    def keyed(self, owner: str, key: str) -> tuple[str, str] | None:
        """The request that came with a key, as JSON, and the id of its job."""
        row = self.database.execute("SELECT request, job FROM keys WHERE owner = ? AND key = ?", (owner, key))
        found: tuple[str, str] | None = row.fetchone()
        return found

    def add_key(self, owner: str, key: str, request: str, job_id: str) -> None:
        self.database.execute("INSERT INTO keys VALUES (?, ?, ?, ?)", (owner, key, request, job_id))

    def drop_key(self, owner: str, key: str) -> None:
        self.database.execute("DELETE FROM keys WHERE owner = ? AND key = ?", (owner, key))

    def answer(self, owner: str, digest: str) -> str | None:
        """The job that answers a request, which is known by its digest."""
        values = (owner, digest)
        row = self.database.execute("SELECT job FROM answers WHERE owner = ? AND digest = ?", values).fetchone()
        return row[0] if row else None

    def add_answer(self, owner: str, digest: str, job_id: str) -> None:
        self.database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", (owner, digest, job_id))

    def _has(self, query: str, *values: str) -> bool:
        return self.database.execute(query, values).fetchone() is not None
