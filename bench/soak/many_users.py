"""L1, L2: many users submit jobs at the same moment to a studio whose queue holds fewer."""

from __future__ import annotations

import http.client
import json
import sqlite3
import statistics
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.soak.health_probe import probe_health, run_empty_server
from bench.soak.measurement import Measurement, at_most, exactly, percentile, scaled
from bench.soak.studio import SMALL, SoakStudio, build_user_headers, run_studio, wait_until

USERS = (60, 100)
JOBS_PER_USER = 3
# So long that Retry-After, which is in whole seconds, can be compared with the truth.
JOB = {**SMALL, "steps": 10}
ROUNDS = 3
MAX_QUEUED = 50
HEALTH_P99_MS = 250
RETRY_FACTOR = 2  # How far Retry-After may be from the truth.
NO_ANSWER = 0
FINAL_EVENTS = ("result", "error", "cancelled")


@dataclass(frozen=True)
class Reply:
    """The answer to one submission, at a time in seconds since 1970. The status is NO_ANSWER if there was none."""

    at: float
    status: int
    job_id: str | None
    retry_after: int | None


@dataclass(frozen=True)
class StoredJob:
    state: str
    started: float | None
    final_events: int


def measure(scale: float) -> list[Measurement]:
    with TemporaryDirectory() as folder, run_studio(Path(folder), "--max-queued", str(MAX_QUEUED)) as studio:
        measurements = []
        for users in USERS:
            measurements += measure_users(studio, scaled(users, scale, 20), scaled(ROUNDS, scale, 2))
        return measurements


def measure_users(studio: SoakStudio, users: int, rounds: int) -> list[Measurement]:
    """Each user submits their jobs at once; the next round begins when all have ended."""
    already = set(read_jobs(studio.data_dir))
    replies: list[Reply] = []
    ratios: list[float] = []
    with run_empty_server() as empty_port, probe_health(empty_port) as empty, probe_health(studio.port) as health:
        for number in range(rounds):
            replies_of_round = submit_at_once(studio, users)
            wait_until(lambda: not count_unfinished(studio.data_dir), 300, poll=0.5)
            if number:  # Before the first round, the studio cannot know how fast it is.
                ratios += compare_retry_after(replies_of_round, read_jobs(studio.data_dir))
            replies += replies_of_round
    jobs = {job_id: job for job_id, job in read_jobs(studio.data_dir).items() if job_id not in already}
    return [
        *describe_bursts(users, replies, jobs),
        *describe_retry_after(users, ratios),
        *describe_health(users, health, empty),
    ]


def submit_at_once(studio: SoakStudio, users: int) -> list[Reply]:
    barrier = threading.Barrier(users)

    def submit_jobs(user: int) -> list[Reply]:
        with closing(http.client.HTTPConnection("127.0.0.1", studio.port, timeout=60)) as connection:
            barrier.wait()
            return [submit_once(connection, user) for _ in range(JOBS_PER_USER)]

    with ThreadPoolExecutor(users) as threads:
        return [reply for replies in threads.map(submit_jobs, range(users)) for reply in replies]


def submit_once(connection: http.client.HTTPConnection, user: int) -> Reply:
    headers = {"Content-Type": "application/json", **build_user_headers(user)}
    try:
        connection.request("POST", "/v1/jobs", json.dumps(JOB), headers)
        response = connection.getresponse()
    except (OSError, http.client.HTTPException):
        connection.close()
        return Reply(time.time(), NO_ANSWER, None, None)
    answer, retry_after = json.loads(response.read()), response.headers.get("retry-after")
    job_id = answer["id"] if response.status == 202 else None
    return Reply(time.time(), response.status, job_id, int(retry_after) if retry_after else None)


def compare_retry_after(replies: Sequence[Reply], jobs: dict[str, StoredJob]) -> list[float]:
    """Returns, for each refusal of a round, Retry-After by the seconds until there was a place for that client.

    Each job that starts leaves a place in the queue. The jobs that were accepted after the first refusal took the first
    of these places, and each refused client gets one of the next, in the order of the refusals; a client who would come
    after the whole queue gets one when the queue is empty. Less than a second counts as one: the header has no less.
    """
    refusals = sorted((reply for reply in replies if reply.status == 503), key=lambda reply: reply.at)
    if not refusals:
        return []
    first = refusals[0].at
    ours = {reply.job_id for reply in replies if reply.job_id}
    started = (job.started for job_id, job in jobs.items() if job_id in ours)
    starts = sorted(at for at in started if at is not None and at > first)
    taken = sum(reply.status == 202 and reply.at > first for reply in replies)
    ratios = []
    for number, refusal in enumerate(refusals):
        place = taken + min(number, MAX_QUEUED - 1)
        truth = starts[min(place, len(starts) - 1)] - refusal.at
        ratios.append((refusal.retry_after or 0) / max(truth, 1))
    return ratios


def describe_bursts(users: int, replies: Sequence[Reply], jobs: dict[str, StoredJob]) -> list[Measurement]:
    statuses = Counter(reply.status for reply in replies)
    accepted = [reply.job_id for reply in replies if reply.status == 202]
    refusals = [reply for reply in replies if reply.status not in (202, NO_ANSWER)]
    who = f"{users} users"
    return [
        Measurement(
            "L1",
            f"{who}: replies by status",
            format_counts(statuses),
            "202, 429, 503",
            set(statuses) <= {202, 429, 503},
        ),
        exactly("L1", f"{who}: refusals without Retry-After", sum(not each.retry_after for each in refusals), 0),
        exactly("L1", f"{who}: accepted jobs that are not done", len(accepted) - count_done(accepted, jobs), 0),
        exactly("L1", f"{who}: jobs without a reply, or with two ends", count_strange(accepted, jobs), 0),
    ]


def format_counts(statuses: Counter[int]) -> str:
    return ", ".join(f"{count} x {status or 'no answer'}" for status, count in sorted(statuses.items()))


def count_done(accepted: Sequence[str | None], jobs: dict[str, StoredJob]) -> int:
    return sum(job_id in jobs and jobs[job_id].state == "done" for job_id in set(accepted) if job_id)


def count_strange(accepted: Sequence[str | None], jobs: dict[str, StoredJob]) -> int:
    return sum(job.final_events != 1 or job_id not in set(accepted) for job_id, job in jobs.items())


def describe_retry_after(users: int, ratios: Sequence[float]) -> list[Measurement]:
    """The studio predicts from the jobs before: with other load on the machine, the truth itself changes meanwhile."""
    what = f"{users} users: Retry-After / true waiting time, median"
    if not ratios:
        return [Measurement("L1", what, "no client was refused", "", None)]
    near = sum(1 / RETRY_FACTOR <= ratio <= RETRY_FACTOR for ratio in ratios) / len(ratios)
    median = statistics.median(ratios)
    measured = f"{median:.2f}; within a factor of two: {near:.0%} of {len(ratios)}"
    return [Measurement("L1", what, measured, "0.5 to 2", 1 / RETRY_FACTOR <= median <= RETRY_FACTOR)]


def describe_health(users: int, health: Sequence[float | None], empty: Sequence[float | None]) -> list[Measurement]:
    """An empty server, called at the same times, shows what the machine's other load alone costs."""
    times = [each for each in health if each is not None]
    allowance = percentile([each or 0 for each in empty], 99)
    limit = HEALTH_P99_MS + allowance
    what = (
        f"{users} users: p99 of {len(times)} calls of /healthz (of an empty server {allowance:.0f} ms, which is added)"
    )
    return [
        at_most("L2", what, percentile(times, 99), limit, "ms"),
        exactly("L2", f"{users} users: failed calls of /healthz", len(health) - len(times), 0),
    ]


def read_jobs(data_dir: Path) -> dict[str, StoredJob]:
    """Returns the stored jobs by id."""
    query = (
        "SELECT id, state, started, (SELECT COUNT(*) FROM events WHERE job = jobs.id AND"
        f" json_extract(event, '$.type') IN {FINAL_EVENTS}) FROM jobs"
    )
    with closing(open_read_only(data_dir)) as database:
        return {job_id: StoredJob(*values) for job_id, *values in database.execute(query)}


def count_unfinished(data_dir: Path) -> int:
    with closing(open_read_only(data_dir)) as database:
        query = "SELECT COUNT(*) FROM jobs WHERE state IN ('queued', 'running')"
        count: int = database.execute(query).fetchone()[0]
        return count


def open_read_only(data_dir: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{data_dir / 'jobs.sqlite'}?mode=ro", uri=True, timeout=30)
