"""SIGTERM: running jobs finish, queued ones stay for the next start, and new ones are refused with a time to retry.

test_restart.py has what happens when running jobs need too long, and the next start.
"""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2

from tests.acceptance.conftest import Studio, make_client, running_studio
from tests.acceptance.test_server import wait_for

# The embedded model needs seconds for these steps.
LONG = {"prompt": "a red circle on a blue background", "steps": 150}
SHORT = {"prompt": "a red circle", "steps": 1}


@contextmanager
def busy_studio(folder: Path, *flags: str) -> Iterator[tuple[Studio, httpx2.Client, str, str]]:
    """A studio with a job that runs and another one that waits for it, by their ids."""
    with running_studio(folder, "--max-running", "1", *flags) as studio, make_client(studio) as client:
        running = client.post("/v1/jobs", json=LONG).raise_for_status().json()["id"]
        wait_for(lambda: client.get(f"/v1/jobs/{running}").json()["state"] == "running", seconds=60)
        queued = client.post("/v1/jobs", json=SHORT).raise_for_status().json()["id"]
        yield studio, client, running, queued


def read_states(folder: Path) -> dict[str, str]:
    with closing(sqlite3.connect(folder / "data" / "jobs.sqlite")) as database:
        return dict(database.execute("SELECT id, state FROM jobs"))


def test_running_jobs_finish_queued_ones_stay_and_new_ones_are_refused(tmp_path: Path) -> None:
    with busy_studio(tmp_path, "--drain-timeout", "240") as (studio, client, running, queued):
        studio.process.send_signal(signal.SIGTERM)
        wait_for(lambda: client.get("/readyz").json()["status"] == "draining", seconds=10)
        assert client.get("/readyz").status_code == 503
        refused = client.post("/v1/jobs", json=SHORT)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "stopping")
        assert int(refused.headers["retry-after"]) > 0
        assert client.get("/healthz").status_code == 200
        assert client.get(f"/v1/jobs/{running}").json()["state"] == "running"
        assert studio.process.wait(240) == 0
        assert "Traceback" not in studio.log.read_text()
    assert read_states(tmp_path) == {running: "done", queued: "queued"}


def test_a_second_signal_ends_the_running_jobs_at_once(tmp_path: Path) -> None:
    with busy_studio(tmp_path) as (studio, client, running, queued):
        studio.process.send_signal(signal.SIGTERM)
        wait_for(lambda: client.get("/readyz").json()["status"] == "draining", seconds=10)
        assert client.get(f"/v1/jobs/{running}").json()["state"] == "running"
        began = time.monotonic()
        studio.process.send_signal(signal.SIGTERM)
        assert studio.process.wait(20) == 0
        assert time.monotonic() - began < 10
    assert read_states(tmp_path) == {running: "failed", queued: "queued"}
