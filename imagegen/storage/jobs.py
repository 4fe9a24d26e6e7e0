"""Jobs and their events, in SQLite: an accepted job survives a restart."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pydantic import Field, ValidationError

from imagegen.errors import InterruptedByShutdown, UnknownJob, UnreadableJob
from imagegen.schema.base import FrozenModel
from imagegen.schema.events import EVENT_ADAPTER, FINAL_EVENTS, Cancelled, Event, Failed, Progress, Result, Started
from imagegen.schema.models import AdapterSource, ModelSource, Upscalers
from imagegen.schema.receipt import RequestedAs
from imagegen.schema.request import GenerationRequest
from imagegen.storage.database import Database
from imagegen.storage.input_ids import find_input_ids

# The largest integer of SQLite.
MAX_NUMBER = 2**63 - 1

JobState = Literal["queued", "running", "done", "failed", "cancelled"]

SELECT_JOBS = "SELECT id, owner, request, sources, state, created, started, finished FROM jobs WHERE {which}"
SELECT_JOB = SELECT_JOBS.format(which="id = ?")
SELECT_NEWEST = SELECT_JOBS.format(which="owner = ? AND number < ? ORDER BY number DESC LIMIT ?")
# Events are stored as JSON that begins with their type.
PROGRESS_PATTERN = '{"type":"progress"%'
SELECT_WITH_PROGRESS = """
SELECT id FROM jobs WHERE finished < ? AND EXISTS (SELECT 1 FROM events WHERE job = jobs.id AND event LIKE ?) LIMIT ?
"""
SELECT_WITHOUT_PICTURES = """
SELECT id FROM jobs WHERE finished < ? AND NOT EXISTS (SELECT 1 FROM pictures WHERE job = jobs.id) LIMIT ?
"""
SELECT_UNFINISHED = SELECT_JOBS.format(which="owner = ? AND state IN ('running', 'queued') ORDER BY number")


class JobSources(FrozenModel):
    """The files that a job is made with, as they were when they were resolved.

    `model_sha256` is of the model's weights, None if they could not be read. `adapter_stamps` are the sizes in bytes
    and the times of the last change in nanoseconds of the adapters' files. `requested` is what the client named, if it
    was resolved to something else. `model` is None for a job that needs none; `upscalers` are by the request's field,
    with stamps in their order. `preview_decoder` is what previews are made with, if the studio has one for the model.
    """

    model: ModelSource | None
    model_sha256: str | None = None
    adapters: tuple[AdapterSource, ...] = ()
    adapter_stamps: tuple[tuple[int, int], ...] = ()
    upscalers: Upscalers = Field(default_factory=dict)
    upscaler_stamps: tuple[tuple[int, int], ...] = ()
    requested: RequestedAs | None = None
    preview_decoder: AdapterSource | None = None

    @property
    def model_id(self) -> str | None:
        return self.model.id if self.model is not None else None


@dataclass(frozen=True)
class Job:
    """A stored job. Times are in seconds since 1970, None until they come.

    `request_json` and `sources_json` are as stored, perhaps by another version of the studio.
    """

    id: str
    owner: str
    request_json: str
    sources_json: str | None
    state: JobState
    created: float
    started: float | None
    finished: float | None

    @cached_property
    def request(self) -> GenerationRequest:
        """Raises UnreadableJob when another version of the studio stored what this one cannot read."""
        try:
            return GenerationRequest.model_validate_json(self.request_json)
        except ValidationError:
            raise UnreadableJob from None

    @property
    def readable_request(self) -> GenerationRequest | None:
        """The request; None when another version of the studio stored what this one cannot read."""
        try:
            return self.request
        except UnreadableJob:
            return None

    @cached_property
    def sources(self) -> JobSources | None:
        """None when another version of the studio stored the job without them, or what this one cannot read."""
        try:
            return JobSources.model_validate_json(self.sources_json) if self.sources_json is not None else None
        except ValidationError:
            return None


class JobStore:
    """Stores jobs and their events.

    Previews are not stored: the next one replaces them within a second. An event that another version of the studio
    stored and this one cannot read is returned as Failed with the code of UnreadableJob.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, request: GenerationRequest, owner: str, sources: JobSources) -> Job:
        """Stores a new job, and returns it."""
        job_id = secrets.token_hex(16)
        self.database.execute(
            "INSERT INTO jobs (id, owner, request, sources, created) VALUES (?, ?, ?, ?, ?)",
            (job_id, owner, request.model_dump_json(), sources.model_dump_json(), time.time()),
        )
        return self.get(job_id)

    def get(self, job_id: str) -> Job:
        """Raises UnknownJob."""
        row = self.database.execute(SELECT_JOB, (job_id,)).fetchone()
        if row is None:
            raise UnknownJob(job_id)
        return Job(*row)

    def set_sources(self, job_id: str, sources: JobSources) -> None:
        self.database.execute("UPDATE jobs SET sources = ? WHERE id = ?", (sources.model_dump_json(), job_id))

    def list_queued(self) -> list[tuple[str, str]]:
        """Returns the id and the owner of each queued job, in the order in which they were added."""
        return self.database.execute("SELECT id, owner FROM jobs WHERE state = 'queued' ORDER BY number").fetchall()

    def list_served_owners(self) -> list[str]:
        """Returns the owners of all jobs that were ever started, the one whose job started last at the end."""
        rows = self.database.execute(
            "SELECT owner FROM jobs WHERE started IS NOT NULL GROUP BY owner ORDER BY MAX(started)"
        )
        return [owner for (owner,) in rows]

    def find_unreadable(self) -> list[tuple[str, UnreadableJob]]:
        """Returns the ids of the queued jobs whose requests this version cannot read, each with the error."""
        unreadable = []
        for job_id, _ in self.list_queued():
            try:
                _ = self.get(job_id).request
            except UnreadableJob as error:
                unreadable.append((job_id, error))
        return unreadable

    def start(self, job_id: str) -> None:
        """Marks a queued job as running, and stores the event. Does nothing to a job that is not queued any more."""
        values = (time.time(), job_id)
        query = "UPDATE jobs SET state = 'running', started = ? WHERE id = ? AND state = 'queued'"
        if self.database.execute(query, values).rowcount:
            self.append_event(job_id, Started())

    def list_unfinished(self, owner: str) -> list[Job]:
        """Returns the running and queued jobs of a user, the oldest first."""
        return [Job(*row) for row in self.database.execute(SELECT_UNFINISHED, (owner,))]

    def list_newest(self, owner: str, limit: int, after: str | None = None) -> list[tuple[Job, Event]]:
        """Returns jobs of a user, the newest first, those before the job `after`; each with its last event.

        Raises UnknownJob.
        """
        first = MAX_NUMBER
        if after is not None:
            row = self.database.execute("SELECT number FROM jobs WHERE owner = ? AND id = ?", (owner, after)).fetchone()
            if row is None:
                raise UnknownJob(after)
            first = row[0]
        rows = self.database.execute(SELECT_NEWEST, (owner, first, limit)).fetchall()
        return [(Job(*row), self.get_last_event(row[0])) for row in rows]

    def append_event(self, job_id: str, event: Event) -> Event:
        """Stores an event and returns it with its number, from 1. A final event ends its job."""
        (last_seq,) = self.database.execute("SELECT MAX(seq) FROM events WHERE job = ?", (job_id,)).fetchone()
        event = event.model_copy(update={"seq": (last_seq or 0) + 1})
        stored_event = event.model_copy(update={"preview": None}) if isinstance(event, Progress) else event
        self.database.execute(
            "INSERT INTO events (job, seq, event) VALUES (?, ?, ?)", (job_id, event.seq, stored_event.model_dump_json())
        )
        if isinstance(event, FINAL_EVENTS):
            self.database.execute(
                "UPDATE jobs SET state = ?, finished = ? WHERE id = ?", (get_final_state(event), time.time(), job_id)
            )
        return event

    def list_events(self, job_id: str, after: int = 0) -> list[Event]:
        """Returns the events of a job with numbers above `after`, in order."""
        query = "SELECT seq, event FROM events WHERE job = ? AND seq > ? ORDER BY seq"
        return [parse_event(*row) for row in self.database.execute(query, (job_id, after))]

    def get_last_event(self, job_id: str) -> Event:
        """Returns the last event of a job. Each job has one at least, that it is queued. Raises UnknownJob."""
        query = "SELECT seq, event FROM events WHERE job = ? ORDER BY seq DESC LIMIT 1"
        row = self.database.execute(query, (job_id,)).fetchone()
        if row is None:
            raise UnknownJob(job_id)
        return parse_event(*row)

    def list_inputs(self) -> set[str]:
        """Returns the ids of the input pictures of jobs that have not ended."""
        rows = self.database.execute("SELECT request FROM jobs WHERE state IN ('queued', 'running')")
        return find_input_ids(request for (request,) in rows)

    def remove_progress(self, finished_before: float, limit: int) -> int:
        """Removes the progress of at most `limit` jobs that ended before a time in seconds since 1970.

        Returns how many jobs there were.
        """
        rows = self.database.execute(SELECT_WITH_PROGRESS, (finished_before, PROGRESS_PATTERN, limit)).fetchall()
        values = [(job_id, PROGRESS_PATTERN) for (job_id,) in rows]
        self.database.execute_many("DELETE FROM events WHERE job = ? AND event LIKE ?", values)
        return len(rows)

    def remove_old(self, finished_before: float, limit: int) -> int:
        """Removes at most `limit` jobs without pictures that ended before a time in seconds since 1970.

        Returns how many there were.
        """
        rows = self.database.execute(SELECT_WITHOUT_PICTURES, (finished_before, limit)).fetchall()
        for table in ("events", "keys", "answers"):
            self.database.execute_many(f"DELETE FROM {table} WHERE job = ?", rows)  # noqa: S608
        self.database.execute_many("DELETE FROM jobs WHERE id = ?", rows)
        return len(rows)

    def interrupt_running(self) -> list[str]:
        """Fails the jobs that were running when the studio stopped, and returns their ids. Queued jobs stay queued."""
        rows = self.database.execute("SELECT id FROM jobs WHERE state = 'running'").fetchall()
        error = InterruptedByShutdown()
        for (job_id,) in rows:
            self.append_event(job_id, Failed(code=error.code, message=str(error)))
        return [job_id for (job_id,) in rows]


def parse_event(seq: int, event_json: str) -> Event:
    """Returns a stored event, and Failed for one that this version of the studio cannot read."""
    try:
        return EVENT_ADAPTER.validate_json(event_json)
    except ValidationError:
        error = UnreadableJob()
        return Failed(seq=seq, code=error.code, message=str(error))


def get_final_state(event: Result | Failed | Cancelled) -> JobState:
    match event:
        case Result():
            return "done"
        case Failed():
            return "failed"
        case Cancelled():
            return "cancelled"
