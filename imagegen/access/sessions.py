"""Sessions of users who signed in with a browser. The cookie has only an id; the rest is in the database."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from pathlib import Path

from imagegen.access.identity import Identity
from imagegen.settings import SESSION_SECRET_BYTES, Settings
from imagegen.storage.database import Database, Migration
from imagegen.storage.threads import DatabaseThreads

SESSION_LIFETIME_SECONDS = 8 * 3600
# Files from before versions have version 0, and this table already.
FIRST_TABLES = """
CREATE TABLE IF NOT EXISTS sessions (
    id BLOB PRIMARY KEY, name TEXT NOT NULL, organisations TEXT NOT NULL, administrator INTEGER NOT NULL,
    expires REAL NOT NULL
) WITHOUT ROWID;
"""
# Sessions of an earlier version have no key: with keys, their users sign in again.
ADD_KEYS = "ALTER TABLE sessions ADD COLUMN key_digest TEXT NOT NULL DEFAULT '';"
MIGRATIONS: list[Migration] = [(1, FIRST_TABLES), (2, ADD_KEYS)]


class SessionStore:
    """Sessions in SQLite. Ids are stored as keyed digests, so that a copy of the file gives no access."""

    def __init__(self, path: Path, secret: bytes) -> None:
        """Opens or creates the database. Raises DatabaseTooNew and DatabaseUnusable."""
        self._threads = DatabaseThreads(path, MIGRATIONS)
        self._secret = secret

    def close(self) -> None:
        """Closes the database."""
        self._threads.close()

    async def create(self, identity: Identity, lifetime_seconds: float = SESSION_LIFETIME_SECONDS) -> str:
        """Stores a session and returns its id, which is valid for `lifetime_seconds`. Deletes expired sessions.

        Raises StorageUnavailable and StorageFull.
        """
        session_id, now = secrets.token_urlsafe(32), time.time()
        values = (
            self._hash_id(session_id),
            identity.name,
            json.dumps(sorted(identity.organisations)),
            identity.is_administrator,
            now + lifetime_seconds,
            identity.key_digest,
        )

        def store(database: Database) -> None:
            database.execute("DELETE FROM sessions WHERE expires < ?", (now,))
            database.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?)", values)

        await self._threads.write(store)
        return session_id

    async def get_identity(self, session_id: str) -> Identity | None:
        """Returns the identity of a session; None if it is unknown or expired. Raises StorageUnavailable."""
        sql = "SELECT name, organisations, administrator, key_digest FROM sessions WHERE id = ? AND expires > ?"
        values = (self._hash_id(session_id), time.time())
        row = await self._threads.read(lambda database: database.execute(sql, values).fetchone())
        return Identity(row[0], frozenset(json.loads(row[1])), bool(row[2]), row[3]) if row else None

    async def delete(self, session_id: str) -> None:
        """Deletes a session, if there is one of this id. Raises StorageUnavailable and StorageFull."""
        values = (self._hash_id(session_id),)
        await self._threads.write(lambda database: database.execute("DELETE FROM sessions WHERE id = ?", values))

    async def delete_all(self, name: str) -> int:
        """Deletes all sessions of a user, and returns how many there were. Raises StorageUnavailable, StorageFull."""

        def delete(database: Database) -> int:
            return database.execute("DELETE FROM sessions WHERE name = ?", (name,)).rowcount

        count = await self._threads.write(delete)
        await self._threads.compact()
        return count

    def _hash_id(self, session_id: str) -> bytes:
        return hmac.digest(self._secret, session_id.encode(), hashlib.sha256)


def get_session_secret(settings: Settings) -> bytes:
    """Returns the secret of the settings, or one that is created once in the data folder, readable by its owner."""
    if settings.session_secret is not None:
        return settings.session_secret.get_secret_value().encode()
    file = settings.data_dir / "session_secret"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(secrets.token_bytes(SESSION_SECRET_BYTES))
    return file.read_bytes()
