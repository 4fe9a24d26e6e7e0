"""M1: hundreds of jobs with changes of the model and of the LoRA leave memory, threads and files as they were."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.processes import ROOT
from bench.soak.measurement import Measurement, at_most, exactly, scaled
from bench.soak.studio import UNLIMITED, SoakStudio, run_studio, submit, wait_for_end
from imagegen.settings import ASSETS_DIR

JOBS = 500
# So many run between two samples.
JOBS_AT_A_TIME = 10
MODELS = ("thin-sd15", "thin-sdxl")
LORA = "neon"
# Each job takes the next of these: the model changes three times in four jobs.
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"loras": [{"lora": LORA, "weight": 0.8}]},
    *({"model": model} for model in MODELS),
)
GROWTH_MB = 30
SLACK = 5
TEMPORARY_MB = 10


@dataclass(frozen=True)
class Sample:
    """Of the web process and the worker process: memory in MiB, threads and open files."""

    memory: tuple[float, float]
    threads: tuple[int, int]
    files: tuple[int, int]
    children: int


def measure(scale: float) -> list[Measurement]:
    with TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "models" / "loras").mkdir(parents=True)
        (home / "tmp").mkdir()
        shutil.copy(ASSETS_DIR / "loras" / f"{LORA}.safetensors", home / "models" / "loras")
        create = [sys.executable, "-m", "bench.create_models", str(home / "models"), *MODELS]
        subprocess.run(create, cwd=ROOT, check=True, capture_output=True)
        with run_studio(home, *UNLIMITED, environment={"TMPDIR": str(home / "tmp")}) as studio:
            samples, states = run_jobs(studio, scaled(JOBS, scale, 100))
            left = sum(file.stat().st_size for file in (home / "tmp").rglob("*") if file.is_file()) / 2**20
    return describe(samples, states, left)


def run_jobs(studio: SoakStudio, jobs: int) -> tuple[list[Sample], list[str]]:
    samples, states = [], list[str]()
    with studio.connect() as client:
        for start in range(0, jobs, JOBS_AT_A_TIME):
            numbers = range(start, start + JOBS_AT_A_TIME)
            ids = [submit(client, seed=number, **VARIANTS[number % len(VARIANTS)]) for number in numbers]
            states += [wait_for_end(client, job_id)["state"] for job_id in ids]
            samples.append(take_sample(studio))
    return samples, states


def take_sample(studio: SoakStudio) -> Sample:
    web, worker = studio.web, studio.worker
    return Sample(
        memory=(web.memory_info().rss / 2**20, worker.memory_info().rss / 2**20),
        threads=(web.num_threads(), worker.num_threads()),
        files=(web.num_fds(), worker.num_fds()),
        children=len(web.children(recursive=True)),
    )


def describe(samples: list[Sample], states: list[str], temporary_mb: float) -> list[Measurement]:
    """Compares the last fifth of the jobs with the second one: in the first, all models are loaded."""
    fifth = len(samples) // 5
    before, after = samples[fifth : 2 * fifth], samples[-fifth:]
    failed = sum(state != "done" for state in states)
    measurements = [exactly("M1", f"{len(states)} jobs, {len(VARIANTS)} kinds in turns: not done", failed, 0)]
    for place, process in enumerate(("web process", "worker")):
        growth = {
            name: statistics.mean(getattr(sample, name)[place] for sample in after)
            - statistics.mean(getattr(sample, name)[place] for sample in before)
            for name in ("memory", "threads", "files")
        }
        measurements += [
            at_most(
                "M1", f"{process}: growth of memory, last fifth against second", growth["memory"], GROWTH_MB, "MiB"
            ),
            at_most("M1", f"{process}: growth of threads", growth["threads"], SLACK, ""),
            at_most("M1", f"{process}: growth of open files", growth["files"], SLACK, ""),
        ]
    children = max(sample.children for sample in after) - max(sample.children for sample in before)
    return [
        *measurements,
        exactly("M1", "further child processes", children, 0),
        at_most("M1", "temporary files left", temporary_mb, TEMPORARY_MB, "MiB"),
    ]
