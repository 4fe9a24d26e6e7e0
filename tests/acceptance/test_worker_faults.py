"""Faults of the worker process, made from outside: its jobs fail by name, it comes back, and nothing else is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.conftest import Studio, running_studio, wait_until_answered

# What the embedded model takes, with little left.
LIMIT_FLAGS = ("--heartbeat-timeout", "3", "--worker-memory-gb", "0.9")


@pytest.fixture(scope="module")
def fragile_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with running_studio(tmp_path_factory.mktemp("fragile"), *LIMIT_FLAGS) as studio:
        yield studio


@pytest.fixture
def http(fragile_studio: Studio) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=fragile_studio.url, timeout=60) as client:
        yield client


def submit(http: httpx.Client, **fields: Any) -> str:
    answer = http.post("/v1/jobs", json={"prompt": "a red circle", "steps": 2, **fields})
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    return job_id


def wait_for_state(http: httpx.Client, job_id: str, *states: str, seconds: float = 120) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        job: dict[str, Any] = http.get(f"/v1/jobs/{job_id}").json()
        if job["state"] in states:
            return job
        time.sleep(0.1)
    raise TimeoutError(job)


def test_a_worker_that_stands_still_is_replaced(fragile_studio: Studio, http: httpx.Client) -> None:
    running = submit(http, steps=150)
    wait_for_state(http, running, "running")
    old_worker = fragile_studio.engine_pid
    os.kill(old_worker, signal.SIGSTOP)
    failed = wait_for_state(http, running, "failed", seconds=30)
    assert failed["error"]["code"] == "worker_hung"
    waiting = submit(http)
    assert wait_for_state(http, waiting, "done", "failed")["state"] == "done"
    assert not Path(f"/proc/{old_worker}").exists()
    wait_until_answered(f"{fragile_studio.url}/readyz", fragile_studio)


def test_a_job_that_needs_too_much_memory_fails_alone(fragile_studio: Studio, http: httpx.Client) -> None:
    too_large = submit(http, width=512, height=512, batch_size=8)
    small = submit(http)
    assert wait_for_state(http, too_large, "done", "failed")["error"]["code"] in {"out_of_memory", "worker_died"}
    assert wait_for_state(http, small, "done", "failed")["state"] == "done"
