"""L4: how long the studio takes to accept a job, with nothing stored, with 20,000 finished and with 20,000 queued jobs.

The worker is stopped by SIGSTOP, so that no job runs meanwhile. The three studios take turns, so that other load on the
machine affects all of them equally.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2

from bench.processes import spent_seconds
from bench.soak.measurement import Measurement, at_most, percentile, scaled
from bench.soak.studio import SMALL, UNLIMITED, SoakStudio, get_job, run_studio, submit, wait_for_end, wait_until
from imagegen.schema.events import Event, Progress, Queued, Result, Started
from imagegen.schema.models import ModelSource
from imagegen.schema.receipt import Picture, Receipt
from imagegen.schema.request import GenerationRequest
from imagegen.storage.jobs import JobSources
from imagegen.storage.storage import Storage, Tables

STORED_JOBS = 20_000
OWNERS = 100
SUBMISSIONS = 200
FIRST_STEPS = 20
P50_MS, P95_MS, FIRST_STEP_MS = 20, 50, 150
# A thousand times as many jobs may not make it slower than this.
MAX_RATIO = 3
# The worker does not answer while it is stopped.
PATIENT = ("--heartbeat-timeout", "100000", *UNLIMITED)
NOTHING = "no job stored"
STORED = {NOTHING: None, "finished": "done", "queued": "queued"}


def measure(scale: float) -> list[Measurement]:
    stored, submissions = scaled(STORED_JOBS, scale, 1000), scaled(SUBMISSIONS, scale, 50)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        studios = {}
        for name, state in STORED.items():
            home = Path(folder) / name
            (home / "data").mkdir(parents=True)
            if state is not None:
                asyncio.run(store_jobs(home / "data" / "jobs.sqlite", stored, is_done=state == "done"))
            studios[name] = stack.enter_context(run_without_worker(home))
        measurements = compare_submissions(studios, stored, submissions)
    return measurements + measure_first_step(scaled(FIRST_STEPS, scale, 5))


async def store_jobs(path: Path, count: int, is_done: bool) -> None:
    """Stores jobs of many users in a new database, without pictures: as the studio would, in one transaction."""
    storage = Storage(path)
    request = GenerationRequest.model_validate({**SMALL, "seed": 1, "guidance_scale": 3.0, "model": "embedded"})
    sources = JobSources(model=ModelSource(id="embedded", name="", pipeline="StableDiffusionPipeline", path=path))
    events: list[Event] = [Queued(position=0)]
    if is_done:
        steps = [Progress(step=step, steps=SMALL["steps"]) for step in (1, 2)]
        events += [Started(), *steps, Result(pictures=(Picture(id="0" * 32, receipt=build_receipt()),), latency_ms=1)]

    def fill(tables: Tables) -> None:
        for number in range(count):
            job = tables.jobs.add(request, f"user {number % OWNERS}", sources)
            for event in events:
                tables.jobs.append_event(job.id, event)

    await storage.write(fill)
    storage.close()


def build_receipt() -> Receipt:
    fields = {"negative_prompt": "", "guidance_scale": 3.0, "sampler": "DPM++ 2M", "seed": 1, "clip_skip": 0}
    kept = {"init_image": None, "strength": None, "model_id": "embedded", "device": "cpu", "dtype": "float32"}
    return Receipt.model_validate({**SMALL, **fields, **kept, "versions": {}})


@contextmanager
def run_without_worker(home: Path) -> Iterator[SoakStudio]:
    """Runs a studio whose worker is stopped before it can run a job. Its jobs wait."""
    with run_studio(home, *PATIENT, until="/healthz") as studio:
        wait_until(studio.web.children, 30)
        worker = studio.worker.pid
        os.kill(worker, signal.SIGSTOP)
        try:
            yield studio
        finally:
            os.kill(worker, signal.SIGKILL)


def compare_submissions(studios: dict[str, SoakStudio], stored: int, submissions: int) -> list[Measurement]:
    seconds: dict[str, list[float]] = {name: [] for name in studios}
    spent = dict.fromkeys(studios, 0.0)
    with ExitStack() as stack:
        clients = {name: stack.enter_context(studio.connect()) for name, studio in studios.items()}
        for client in clients.values():
            submit(client)  # The first has to be looked for on disk.
        for _ in range(submissions):
            for name, client in clients.items():
                before = spent_seconds(studios[name].process.pid)
                seconds[name].append(time_submission(client))
                spent[name] += spent_seconds(studios[name].process.pid) - before
    medians = {name: statistics.median(times) * 1000 for name, times in seconds.items()}
    measurements = []
    for name, times in seconds.items():
        what = name if STORED[name] is None else f"{stored:,} {name}"
        measurements += [
            at_most("L4", f"{what}: median time to accept a job", medians[name], P50_MS, "ms"),
            at_most("L4", f"{what}: p95", percentile(times, 95) * 1000, P95_MS, "ms"),
            at_most("L4", f"{what}: processor time of a job", spent[name] / submissions * 1000, P50_MS, "ms"),
        ]
        if STORED[name] is not None:
            measurements.append(
                at_most("L4", f"{what}: median, compared with none", medians[name] / medians[NOTHING], MAX_RATIO, "x")
            )
    return measurements


def time_submission(client: httpx2.Client) -> float:
    began = time.perf_counter()
    submit(client)
    return time.perf_counter() - began


def measure_first_step(jobs: int) -> list[Measurement]:
    """The time from a submission to the first step of a studio that has nothing else to do."""
    with TemporaryDirectory() as folder, run_studio(Path(folder), *UNLIMITED) as studio, studio.connect() as client:
        wait_for_end(client, submit(client))
        milliseconds = []
        for _ in range(jobs):
            job_id = submit(client)
            accepted = time.perf_counter()
            with client.stream("GET", f"/v1/jobs/{job_id}/events") as response:
                next(line for line in response.iter_lines() if line == "event: progress")
                milliseconds.append((time.perf_counter() - accepted) * 1000)
            wait_for_end(client, job_id)
            assert get_job(client, job_id)["state"] == "done"
    return [
        at_most(
            "L4",
            "idle: median time from accepted to the first step",
            statistics.median(milliseconds),
            FIRST_STEP_MS,
            "ms",
        )
    ]
