"""What each user owns besides jobs and pictures: inputs, idempotency keys, cached results, their model choice."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from imagegen.schema.request import GenerationRequest
from imagegen.storage.database import Database


class Ownership:
    """Stores who owns what. Users are named by their ids. The same input picture may have several owners."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add_input(self, owner: str, image_id: str) -> None:
        self.database.execute("INSERT OR IGNORE INTO inputs VALUES (?, ?)", (image_id, owner))

    def remove_inputs(self, image_ids: Iterable[str]) -> None:
        """Forgets input pictures of all users."""
        self.database.execute_many("DELETE FROM inputs WHERE id = ?", [(image_id,) for image_id in image_ids])

    def owns_input(self, owner: str, image_id: str) -> bool:
        query = "SELECT 1 FROM inputs WHERE owner = ? AND id = ?"
        return self.database.execute(query, (owner, image_id)).fetchone() is not None

    def list_inputs(self) -> set[str]:
        """Returns the ids of the input pictures of all users."""
        return {image_id for (image_id,) in self.database.execute("SELECT DISTINCT id FROM inputs")}

    def get_model_choice(self, owner: str) -> str | None:
        row = self.database.execute("SELECT model FROM choices WHERE owner = ?", (owner,)).fetchone()
        return row[0] if row else None

    def set_model_choice(self, owner: str, model: str) -> None:
        self.database.execute("INSERT OR REPLACE INTO choices VALUES (?, ?)", (owner, model))

    def get_keyed_request(self, owner: str, key: str) -> tuple[GenerationRequest | None, str] | None:
        """Returns the request that came with an idempotency key, and the id of its job; None for a new key.

        The request is None when another version of the studio stored what this one cannot read.
        """
        values = (owner, key)
        row = self.database.execute("SELECT request, job FROM keys WHERE owner = ? AND key = ?", values).fetchone()
        return (parse_stored_request(row[0]), row[1]) if row else None

    def set_idempotency_key(self, owner: str, key: str, request: GenerationRequest, job_id: str) -> None:
        """Gives a key its meaning; replaces that of a failed job."""
        values = (owner, key, request.model_dump_json(), job_id)
        self.database.execute("INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?)", values)

    def get_cached_job(self, owner: str, digest: str) -> str | None:
        """Returns the id of the finished job whose request had this digest, None if there is none."""
        values = (owner, digest)
        row = self.database.execute("SELECT job FROM answers WHERE owner = ? AND digest = ?", values).fetchone()
        return row[0] if row else None

    def add_cached_job(self, owner: str, digest: str, job_id: str) -> None:
        self.database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", (owner, digest, job_id))


def parse_stored_request(text: str) -> GenerationRequest | None:
    """Returns None for what is no request of this version."""
    try:
        return GenerationRequest.model_validate_json(text)
    except ValidationError:
        return None
