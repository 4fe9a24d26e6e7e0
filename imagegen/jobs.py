"""Jobs, their events, and who is next, in SQLite: what was accepted survives a restart."""

from __future__ import annotations

import secrets
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imagegen.errors import Interrupted, UnknownJob
from imagegen.schema import EVENT, LAST_EVENTS, Cancelled, Event, Failed, GenerationRequest, Progress, Result

State = Literal["queued", "running", "done", "failed", "cancelled"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    request TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued',
    created REAL NOT NULL,
    started REAL,
    finished REAL
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, owner, number);
CREATE INDEX IF NOT EXISTS jobs_by_owner ON jobs (owner, started);
CREATE TABLE IF NOT EXISTS events (
    job TEXT NOT NULL REFERENCES jobs (id),
    seq INTEGER NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (job, seq)
) WITHOUT ROWID;
"""
# Users take turns: first the first job of each, who was served least recently before the others, then the second.
TURNS = """
SELECT id FROM (
    SELECT id, owner, number, ROW_NUMBER() OVER (PARTITION BY owner ORDER BY number) AS turn,
        (SELECT MAX(started) FROM jobs AS served WHERE served.owner = jobs.owner) AS served
    FROM jobs WHERE state = 'queued'
) AS waiting {which} ORDER BY turn, served NULLS FIRST, number
"""
QUEUE = TURNS.format(which="")
NEXT = TURNS.format(
    which="WHERE (SELECT COUNT(*) FROM jobs AS held WHERE held.owner = waiting.owner AND held.state = 'running') < ?"
)


@dataclass(frozen=True)
class Job:
    """One request on its way. Times are seconds since 1970, None until they come."""

    id: str
    owner: str
    request: GenerationRequest
    state: State
    created: float
    started: float | None
    finished: float | None


class JobStore:
    """Used by one thread at a time. Previews are never stored: they are worth nothing a second later."""

    def __init__(self, path: Path) -> None:
        self.database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + SCHEMA)

    def close(self) -> None:
        self.database.close()

    def add(self, request: GenerationRequest, owner: str) -> Job:
        job = Job(secrets.token_hex(16), owner, request, "queued", time.time(), None, None)
        self.database.execute(
            "INSERT INTO jobs (id, owner, request, created) VALUES (?, ?, ?, ?)",
            (job.id, owner, request.model_dump_json(), job.created),
        )
        return job

    def get(self, job_id: str) -> Job:
        row = self.database.execute(
            "SELECT id, owner, request, state, created, started, finished FROM jobs WHERE id = ?", (job_id,)
        ).fetchone()
        if row is None:
            raise UnknownJob(job_id)
        return Job(row[0], row[1], GenerationRequest.model_validate_json(row[2]), *row[3:])

    def queue(self) -> list[str]:
        """The jobs that wait, in the order in which they would start if no other came."""
        return [job_id for (job_id,) in self.database.execute(QUEUE)]

    def start_next(self, per_user: int = 1000) -> Job | None:
        """Takes the job whose turn it is out of the queue; of one user, at most `per_user` run at a time."""
        row = self.database.execute(f"{NEXT} LIMIT 1", (per_user,)).fetchone()
        if row is None:
            return None
        self.database.execute("UPDATE jobs SET state = 'running', started = ? WHERE id = ?", (time.time(), row[0]))
        return self.get(row[0])

    def unfinished(self, owner: str) -> list[Job]:
        """What a user has running and waiting, the oldest first."""
        rows = self.database.execute(
            "SELECT id FROM jobs WHERE owner = ? AND state IN ('running', 'queued') ORDER BY number", (owner,)
        ).fetchall()
        return [self.get(job_id) for (job_id,) in rows]

    def append(self, job_id: str, event: Event) -> Event:
        """Writes an event to its job's log, with its number there. The last event of a job ends it."""
        (last,) = self.database.execute("SELECT MAX(seq) FROM events WHERE job = ?", (job_id,)).fetchone()
        event = event.model_copy(update={"seq": (last or 0) + 1})
        stored = event.model_copy(update={"preview": None}) if isinstance(event, Progress) else event
        self.database.execute(
            "INSERT INTO events (job, seq, event) VALUES (?, ?, ?)", (job_id, event.seq, stored.model_dump_json())
        )
        if isinstance(event, LAST_EVENTS):
            self.database.execute(
                "UPDATE jobs SET state = ?, finished = ? WHERE id = ?", (final_state(event), time.time(), job_id)
            )
        return event

    def events(self, job_id: str, after: int = 0) -> list[Event]:
        rows = self.database.execute("SELECT event FROM events WHERE job = ? AND seq > ? ORDER BY seq", (job_id, after))
        return [EVENT.validate_json(row[0]) for row in rows]

    def last(self, job_id: str) -> Event:
        """What happened last. Every job has been queued at least."""
        query = "SELECT event FROM events WHERE job = ? ORDER BY seq DESC LIMIT 1"
        return EVENT.validate_json(self.database.execute(query, (job_id,)).fetchone()[0])

    def interrupt_running(self) -> list[str]:
        """Ends what was running when the studio stopped; what was queued stays queued."""
        rows = self.database.execute("SELECT id FROM jobs WHERE state = 'running'").fetchall()
        error = Interrupted()
        for (job_id,) in rows:
            self.append(job_id, Failed(code=error.code, message=str(error)))
        return [job_id for (job_id,) in rows]

    def usual_seconds(self) -> float:
        """How long the last jobs took that the worker ran, on average; a guess of 5 before there were any."""
        (mean,) = self.database.execute(
            "SELECT AVG(finished - started) FROM (SELECT started, finished FROM jobs"
            " WHERE state = 'done' AND started IS NOT NULL ORDER BY number DESC LIMIT 20)"
        ).fetchone()
        return mean or 5.0


def final_state(event: Result | Failed | Cancelled) -> State:
    match event:
        case Result():
            return "done"
        case Failed():
            return "failed"
        case Cancelled():
            return "cancelled"
