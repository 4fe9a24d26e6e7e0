"""A studio with two workers: two jobs of two models side by side, and one worker that is killed."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from imagegen.access.keys import KeyStore
from tests.acceptance.conftest import ROOT, Studio, make_client, running_studio

MODELS = ("embedded", "copy")
# The models have other defaults.
COMMON = {"sampler": "DPM++ 2M", "guidance_scale": 3}
SHORT = COMMON | {"prompt": "a red circle", "width": 64, "height": 64, "steps": 4, "seed": 1}
LONG = COMMON | {"prompt": "a blue circle", "width": 256, "height": 256, "steps": 80, "seed": 2}


class JobClient:
    """Runs jobs of a studio over REST."""

    def __init__(self, http: httpx2.Client) -> None:
        self.http = http

    def submit(self, model: str, **fields: Any) -> str:
        job_id: str = self.http.post("/v1/jobs", json={**fields, "model": model}).raise_for_status().json()["id"]
        return job_id

    def get(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = self.http.get(f"/v1/jobs/{job_id}").raise_for_status().json()
        return job

    def wait(self, job_id: str) -> dict[str, Any]:
        wait_until_true(lambda: self.get(job_id)["state"] not in ("queued", "running"))
        return self.get(job_id)

    def run(self, *models: str, **fields: Any) -> list[bytes]:
        """Runs a job of each model side by side, and returns the pixels of their pictures."""
        job_ids = [self.submit(model, **fields) for model in models]
        return [self.download_pixels(self.wait(job_id)) for job_id in job_ids]

    def download_pixels(self, job: dict[str, Any]) -> bytes:
        assert job["state"] == "done"
        pictures = [job["result"], *job["result"]["others"]]
        return b"".join(read_pixels(self.http, picture["url"]) for picture in pictures)

    def wait_until_all_ready(self) -> None:
        wait_until_true(lambda: set(self.http.get("/readyz").json().get("workers", {}).values()) == {"ready"})


def read_pixels(http: httpx2.Client, url: str) -> bytes:
    with Image.open(BytesIO(http.get(url).raise_for_status().content)) as image:
        return image.tobytes()


def wait_until_true(condition: Callable[[], bool], seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.1)


def list_worker_pids(studio: Studio) -> list[int]:
    children = Path(f"/proc/{studio.process.pid}/task").glob("*/children")
    return [int(pid) for file in children for pid in file.read_text().split()]


def add_second_model(folder: Path) -> None:
    """A model of another name with the same weights."""
    shutil.copytree(ROOT / "assets" / "models" / "embedded", folder / "models" / "copy")


@pytest.mark.timeout(900)  # Up to three engines start.
def test_two_models_run_on_two_workers_and_a_dead_worker_fails_its_own_job_only(
    keys_studio: Studio, keys: KeyStore, tmp_path: Path
) -> None:
    """The pictures are compared with those of a studio with one worker. Both models have the same weights."""
    add_second_model(tmp_path)
    with running_studio(tmp_path, "--device", "cpu,cpu", until="healthz") as studio, make_client(studio) as http:
        client = JobClient(http)
        client.wait_until_all_ready()
        assert list(http.get("/readyz").json()["workers"]) == ["cpu", "cpu:1"]
        short_pixels = client.run(*MODELS, **SHORT)
        jobs = {model: client.submit(model, **LONG) for model in MODELS}
        wait_until_true(lambda: all((client.get(job_id)["progress"] or 0) > 0 for job_id in jobs.values()))
        os.kill(list_worker_pids(studio)[0], signal.SIGKILL)
        ended = [client.wait(job_id) for job_id in jobs.values()]
        (finished,) = [job for job in ended if job["state"] == "done"]
        (failed,) = [job for job in ended if job["state"] == "failed"]
        assert failed["error"]["code"] == "worker_died"
        long_pixels = client.download_pixels(finished)
        client.wait_until_all_ready()
        assert len(list_worker_pids(studio)) == 2
    with make_client(keys_studio, keys.add("paula")) as http:
        client = JobClient(http)
        assert client.run("embedded", **SHORT) * 2 == short_pixels
        assert client.run("embedded", **LONG) == [long_pixels]
