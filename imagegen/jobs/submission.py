"""Stores a new job with its first events and its idempotency key, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imagegen.errors import IdempotencyKeyReused
from imagegen.jobs.event_log import append_event
from imagegen.schema.events import Event
from imagegen.schema.request import GenerationRequest
from imagegen.storage.jobs import Job, JobSources
from imagegen.storage.storage import Tables


@dataclass(frozen=True)
class Submission:
    """What a user sent: `sent_request` as it came, which an idempotency key stands for."""

    owner: str
    sent_request: GenerationRequest
    idempotency_key: str | None = None

    def find_earlier_job(self, tables: Tables) -> str | None:
        """Returns the id of the job that the user submitted with this key, None for a new key.

        The key of a failed job counts as new. Raises IdempotencyKeyReused for a different request.
        """
        if self.idempotency_key is None:
            return None
        keyed = tables.ownership.get_keyed_request(self.owner, self.idempotency_key)
        if keyed is None:
            return None
        keyed_request, job_id = keyed
        has_failed = tables.jobs.get(job_id).state == "failed"
        if keyed_request != self.sent_request and not (keyed_request is None and has_failed):
            raise IdempotencyKeyReused
        return None if has_failed else job_id

    def store(self, tables: Tables, request: GenerationRequest, sources: JobSources, events: Sequence[Event]) -> Job:
        """Stores and returns the new job. All fields of `request` are filled in."""
        job = tables.jobs.add(request, self.owner, sources)
        for event in events:
            append_event(tables, job.id, event)
        if self.idempotency_key is not None:
            tables.ownership.set_idempotency_key(self.owner, self.idempotency_key, self.sent_request, job.id)
        return tables.jobs.get(job.id)
