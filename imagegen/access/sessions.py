"""Sessions of those who signed in with a browser: the cookie holds an id, and everything else is here."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import time
from pathlib import Path

from imagegen.access.identity import Identity
from imagegen.settings import SECRET_BYTES, Settings

LIFETIME = 8 * 3600
SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    id BLOB PRIMARY KEY, name TEXT NOT NULL, organisations TEXT NOT NULL, administrator INTEGER NOT NULL,
    expires REAL NOT NULL
) WITHOUT ROWID;
"""


class Sessions:
    """Who has the file knows who signed in, but cannot make a cookie of it: ids are kept as digests."""

    def __init__(self, path: Path, secret: bytes) -> None:
        self.database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.database.executescript("PRAGMA journal_mode = WAL;" + SCHEMA)
        self._secret = secret

    def close(self) -> None:
        self.database.close()

    def begin(self, identity: Identity, seconds: float = LIFETIME) -> str:
        """The id of a new session, which ends by itself."""
        session_id, now = secrets.token_urlsafe(32), time.time()
        self.database.execute("DELETE FROM sessions WHERE expires < ?", (now,))
        organisations = json.dumps(sorted(identity.organisations))
        self.database.execute(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, ?)",
            (self._digest(session_id), identity.name, organisations, identity.is_administrator, now + seconds),
        )
        return session_id

    def identity(self, session_id: str) -> Identity | None:
        row = self.database.execute(
            "SELECT name, organisations, administrator FROM sessions WHERE id = ? AND expires > ?",
            (self._digest(session_id), time.time()),
        ).fetchone()
        return Identity(row[0], frozenset(json.loads(row[1])), bool(row[2])) if row else None

    def end(self, session_id: str) -> None:
        self.database.execute("DELETE FROM sessions WHERE id = ?", (self._digest(session_id),))

    def _digest(self, session_id: str) -> bytes:
        return hmac.digest(self._secret, session_id.encode(), hashlib.sha256)


def session_secret(settings: Settings) -> bytes:
    """The one that is set, or one that is made the first time and kept where only the studio's user may read it."""
    if settings.session_secret is not None:
        return settings.session_secret.get_secret_value().encode()
    file = settings.data_dir / "session_secret"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(secrets.token_bytes(SECRET_BYTES))
    return file.read_bytes()
