"""Reads and changes the database of a service from outside, as another process would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from imagegen.service import Service
from imagegen.storage.database import Database
from imagegen.storage.jobs import Job, JobStore
from imagegen.storage.migrations import MIGRATIONS


def open_database(path: Path) -> Database:
    return Database(path, MIGRATIONS)


@contextmanager
def open_jobs(service: Service) -> Iterator[JobStore]:
    with closing(open_database(service.storage.path)) as database:
        yield JobStore(database)


def read_job(service: Service, job_id: str) -> Job:
    with open_jobs(service) as jobs:
        return jobs.get(job_id)


def list_unfinished_ids(service: Service, owner: str) -> list[str]:
    with open_jobs(service) as jobs:
        return [job.id for job in jobs.list_unfinished(owner)]


def change_rows(service: Service, sql: str, values: Sequence[object] = ()) -> None:
    with open_jobs(service) as jobs:
        jobs.database.execute(sql, values)
