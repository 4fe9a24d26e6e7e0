"""A real studio on the embedded model, in a folder of its own, that is used and harmed from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil

from bench.processes import ROOT, free_port

START_SECONDS = 180
STOP_SECONDS = 30
POLL_SECONDS = 0.05
# Limits that no load of a bench reaches.
UNLIMITED = (
    "--requests-per-minute", "10000000", "--queued-per-user", "10000000", "--max-queued", "10000000",
    "--upload-mb-per-minute", "10000000",
)  # fmt: skip
SMALL = {"prompt": "a red circle", "steps": 2, "width": 64, "height": 64}
FINAL_STATES = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class SoakStudio:
    port: int
    data_dir: Path
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def web(self) -> psutil.Process:
        """The web process."""
        return psutil.Process(self.process.pid)

    @property
    def worker(self) -> psutil.Process:
        """The worker process. Raises ValueError while there is none."""
        (worker,) = self.web.children()
        return worker

    def connect(self, user: int = 0, timeout: float = 120) -> httpx2.Client:
        """Returns a client of the user with this number: in an open studio, each address is a user."""
        return httpx2.Client(base_url=self.url, headers=build_user_headers(user), timeout=timeout)

    def is_ready(self) -> bool:
        return self.get_status("/readyz") == 200

    def get_status(self, path: str) -> int | None:
        """Returns the status of a response, None if there is none."""
        try:
            return httpx2.get(f"{self.url}{path}", timeout=10).status_code
        except httpx2.HTTPError:
            return None

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


def build_user_headers(user: int) -> dict[str, str]:
    """Returns the headers that make a request one of the user with this number, below 65536.

    The studio believes what a proxy on this machine says of its client. The addresses are reserved for benchmarks.
    """
    return {"X-Forwarded-For": f"198.18.{user // 256}.{user % 256}"}


@contextmanager
def run_studio(
    folder: Path, *flags: str, until: str = "/readyz", environment: Mapping[str, str] | None = None
) -> Iterator[SoakStudio]:
    """Runs a studio on the folders `data` and `models` in `folder`, from when `until` answers 200 to the end.

    It reaches no Hub. Raises TimeoutError with the end of its log if it does not start.
    """
    port, log = free_port(), folder / "log.jsonl"
    flags = ("--port", str(port), "--data-dir", f"{folder}/data", "--models-dir", f"{folder}/models", *flags)
    variables = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": f"{folder}/huggingface",
        "STUDIO_DRAIN_TIMEOUT": "5",
        "OMP_WAIT_POLICY": "passive",  # The bench computes too: threads that wait must sleep, as in the Makefile.
        **(environment or {}),
    }
    with (
        log.open("ab") as output,
        subprocess.Popen(
            [sys.executable, "app.py", *flags], cwd=ROOT, env=variables, stdout=output, stderr=output
        ) as process,
    ):
        studio = SoakStudio(port, folder / "data", log, process)
        try:
            wait_until(lambda: studio.get_status(until) == 200 or process.poll() is not None, START_SECONDS)
            if process.poll() is not None:
                raise TimeoutError(f"the studio ended:\n{log.read_text(encoding='utf-8')[-2000:]}")
            yield studio
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_until(condition: Callable[[], object], seconds: float, poll: float = POLL_SECONDS) -> float:
    """Returns how many seconds it took until the condition held. Raises TimeoutError."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"not within {seconds:.0f} seconds")
        time.sleep(poll)
    return time.monotonic() - began


def submit(client: httpx2.Client, **fields: Any) -> str:
    """Submits a job and returns its id. Raises HTTPStatusError when it is refused."""
    job_id: str = client.post("/v1/jobs", json={**SMALL, **fields}).raise_for_status().json()["id"]
    return job_id


def get_job(client: httpx2.Client, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = client.get(f"/v1/jobs/{job_id}").raise_for_status().json()
    return job


def wait_for_end(client: httpx2.Client, job_id: str, seconds: float = 120) -> dict[str, Any]:
    """Returns a job when it has ended. Raises TimeoutError."""
    wait_until(lambda: get_job(client, job_id)["state"] in FINAL_STATES, seconds)
    return get_job(client, job_id)
