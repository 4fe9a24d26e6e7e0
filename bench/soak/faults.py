"""F1, F3, F4, F5, F9: the worker dies or hangs, the studio is terminated or killed, the disk is full."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2

from bench.soak.many_users import read_jobs
from bench.soak.measurement import Measurement, at_most, exactly
from bench.soak.studio import (
    FINAL_STATES,
    UNLIMITED,
    get_job,
    run_studio,
    submit,
    wait_for_end,
    wait_until,
)

LONG = {"steps": 150, "width": 256, "height": 256}
DETECTED_SECONDS = 1
READY_SECONDS = 5
HEARTBEAT_SECONDS = 5
HUNG_SECONDS = 2
DRAIN_SECONDS = 60
EXIT_SECONDS = 2
QUEUED_AT_STOP, QUEUED_AT_KILL = 5, 10
DISK_MB = 64
ONE_AT_A_TIME = ("--max-running", "1", *UNLIMITED)


def kill_worker(scale: float) -> list[Measurement]:
    """F1: the worker is killed in the middle of a job."""
    with (
        TemporaryDirectory() as folder,
        run_studio(Path(folder), until="/healthz") as studio,
        studio.connect() as client,
    ):
        loading = wait_until(studio.is_ready, 180)
        running = start_job(client)
        began = time.monotonic()
        studio.worker.send_signal(signal.SIGKILL)
        wait_until(lambda: get_job(client, running)["state"] == "failed", 60, poll=0.01)
        detected = time.monotonic() - began
        ready = wait_until(studio.is_ready, 180) + detected
        error = get_job(client, running)["error"]["code"]
        next_state = wait_for_end(client, submit(client))["state"]
    return [
        at_most("F1", "until its job has failed", detected, DETECTED_SECONDS, "s"),
        exactly("F1", "error of that job", error, "worker_died"),
        at_most("F1", f"until ready again (a start takes {loading:.1f} s)", ready, loading + READY_SECONDS, "s"),
        exactly("F1", "the next job", next_state, "done"),
    ]


def stop_worker(scale: float) -> list[Measurement]:
    """F3: the worker stands still in the middle of a job."""
    flags = ("--heartbeat-timeout", str(HEARTBEAT_SECONDS))
    with TemporaryDirectory() as folder, run_studio(Path(folder), *flags) as studio, studio.connect() as client:
        running = start_job(client)
        began = time.monotonic()
        studio.worker.send_signal(signal.SIGSTOP)
        wait_until(lambda: get_job(client, running)["state"] == "failed", 60, poll=0.01)
        detected = time.monotonic() - began
        meanwhile = studio.get_status("/readyz")
        wait_until(studio.is_ready, 180)
        next_state = wait_for_end(client, submit(client))["state"]
    return [
        at_most("F3", "until its job has failed", detected, HEARTBEAT_SECONDS + HUNG_SECONDS, "s"),
        exactly("F3", "/readyz meanwhile", meanwhile, 503),
        exactly("F3", "the next job", next_state, "done"),
    ]


def terminate_studio(scale: float) -> list[Measurement]:
    """F4: SIGTERM with one job that runs and five that wait; then another start."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        flags = (*ONE_AT_A_TIME, "--drain-timeout", str(DRAIN_SECONDS))
        with run_studio(home, *flags) as studio, studio.connect() as client:
            running = start_job(client)
            queued = [submit(client) for _ in range(QUEUED_AT_STOP)]
            began = time.monotonic()
            studio.send(signal.SIGTERM)
            code = studio.process.wait(DRAIN_SECONDS * 2)
            seconds = time.monotonic() - began
        state = read_jobs(studio.data_dir)[running].state
        waited = sum(read_jobs(studio.data_dir)[job_id].state == "queued" for job_id in queued)
        finished = restart(home, queued)
    return [
        at_most("F4", "until the studio has ended", seconds, DRAIN_SECONDS + EXIT_SECONDS, "s"),
        exactly("F4", "its exit code", code, 0),
        exactly("F4", "the job that ran", state, "done"),
        exactly("F4", "jobs that waited and are queued", waited, QUEUED_AT_STOP),
        exactly("F4", "jobs of these that another start finishes", finished, QUEUED_AT_STOP),
    ]


def kill_studio(scale: float) -> list[Measurement]:
    """F5: the web process is killed with one job that runs and ten that wait; then another start."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        with run_studio(home, *ONE_AT_A_TIME) as studio, studio.connect() as client:
            running = start_job(client)
            queued = [submit(client) for _ in range(QUEUED_AT_KILL)]
            worker = studio.worker
            studio.process.kill()
            studio.process.wait()
            worker_ended = wait_until(lambda: not worker.is_running(), 30)
        finished = restart(home, queued)
        jobs = read_jobs(studio.data_dir)
    strange = sum(jobs[job_id].final_events != 1 for job_id in (running, *queued))
    return [
        at_most("F5", "until the worker has ended too", worker_ended, READY_SECONDS, "s"),
        exactly("F5", "jobs that waited and are done after another start", finished, QUEUED_AT_KILL),
        exactly("F5", "the job that ran", jobs[running].state, "failed"),
        exactly("F5", "jobs with no end or two", strange, 0),
    ]


def fill_disk(scale: float) -> list[Measurement]:
    """F9: the disk with data and logs is full, and has room again."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        try:
            with mount_small_disk(home):
                return use_full_disk(home)
        except (PermissionError, subprocess.CalledProcessError, FileNotFoundError):
            return [Measurement("F9", "a full disk", "only root can mount a small one", "", None)]


def use_full_disk(home: Path) -> list[Measurement]:
    flags = ("--log-dir", f"{home}/data/logs", "--min-free-gb", "0.001", *UNLIMITED)
    with run_studio(home, *flags) as studio, studio.connect() as client:
        before = submit(client, **LONG)
        wait_until(lambda: get_job(client, before)["state"] == "running", 60)
        filler = home / "data" / "filler"
        fill(filler)
        refused = client.post("/v1/jobs", json={"prompt": "a red circle", "steps": 2})
        ready, alive = studio.get_status("/readyz"), studio.get_status("/healthz")
        error = refused.json().get("error", {}).get("code")
        state_before = wait_for_end_or_room(client, before, filler)
        filler.unlink(missing_ok=True)
        wait_until(studio.is_ready, 60)
        after = wait_for_end(client, submit(client))["state"]
    return [
        exactly("F9", "a new job on a full disk", f"{refused.status_code} {error}", "507 insufficient_storage"),
        exactly("F9", "/readyz, /healthz meanwhile", f"{ready}, {alive}", "503, 200"),
        Measurement("F9", "the job that ran", state_before, "done or failed", state_before in ("done", "failed")),
        exactly("F9", "a job when there is room again", after, "done"),
    ]


def wait_for_end_or_room(client: httpx2.Client, job_id: str, filler: Path) -> str:
    """Returns the final state of a job that may need room to be stored."""
    try:
        return str(wait_for_end(client, job_id, 30)["state"])
    except TimeoutError:
        filler.unlink()
        return str(wait_for_end(client, job_id)["state"])


@contextmanager
def mount_small_disk(home: Path) -> Iterator[None]:
    """Mounts a file system in memory at the data folder. Raises CalledProcessError and OSError if that is forbidden."""
    data = home / "data"
    data.mkdir()
    if os.geteuid():
        raise PermissionError
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(data)], check=True, capture_output=True
    )
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(data)], check=True)


def fill(file: Path) -> None:
    """Writes zeros to a file until the disk is full."""
    with file.open("wb", buffering=0) as output:
        try:
            for size in (2**20, 2**12):
                while output.write(b"\0" * size) == size:
                    pass
        except OSError:
            return


def start_job(client: httpx2.Client) -> str:
    """Returns a long job that makes its steps."""
    job_id = submit(client, **LONG)
    wait_until(lambda: get_job(client, job_id)["step"], 120)
    return job_id


def restart(home: Path, job_ids: list[str]) -> int:
    """Starts a studio on the same folders. Returns how many of the jobs are done when all have ended."""
    with run_studio(home, *UNLIMITED) as studio:
        states: dict[str, str] = {}

        def have_ended() -> bool:
            states.update({job_id: job.state for job_id, job in read_jobs(studio.data_dir).items()})
            return all(states[job_id] in FINAL_STATES for job_id in job_ids)

        wait_until(have_ended, 180, poll=0.5)
    return sum(states[job_id] == "done" for job_id in job_ids)
