"""Makes the rows of a recovered jobs.sqlite consistent: no job without its events, no event without its job."""

from __future__ import annotations

from imagegen.errors import ResultLost
from imagegen.schema.events import FINAL_EVENTS, Failed, Queued, Result
from imagegen.storage.database import Database
from imagegen.storage.files import ImageStore
from imagegen.storage.jobs import JobStore
from imagegen.storage.pictures import PictureStore

TABLES_WITH_JOBS = ("events", "keys", "answers")


def repair_jobs(database: Database, images: ImageStore) -> None:
    """Fails jobs whose result was lost, with the code of ResultLost, and gives pictures back to the jobs' owners.

    Pictures without a file were deleted, and stay so.
    """
    for table in TABLES_WITH_JOBS:
        database.execute(f"DELETE FROM {table} WHERE job NOT IN (SELECT id FROM jobs)")  # noqa: S608
    jobs, pictures = JobStore(database), PictureStore(database)
    query = "SELECT id, owner, state, created, finished FROM jobs ORDER BY number"
    for job_id, owner, state, created, finished in database.execute(query).fetchall():
        if not jobs.list_events(job_id):
            jobs.append_event(job_id, Queued(position=0))
        last = jobs.get_last_event(job_id)
        if state not in ("queued", "running") and not isinstance(last, FINAL_EVENTS):
            error = ResultLost()
            jobs.append_event(job_id, Failed(code=error.code, message=str(error)))
        if isinstance(last, Result):
            kept = [picture for picture in last.pictures if images.picture_path(picture.id).exists()]
            pictures.add(owner, job_id, kept, finished or created)
    pictures.index_all()
