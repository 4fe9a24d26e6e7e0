"""`python -m bench.library [--pictures 20000]`: what a large library costs, beside an empty one.

Two studios whose engine costs nothing run side by side, one with many pictures of one user, and answer the same
requests in turns. Measured are the median time of each request in ms as its client sees it, and how long the studio
takes to start.
"""

from __future__ import annotations

import argparse
import platform
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.doors import run_idle_studio
from bench.http_client import HttpClient
from bench.timing import describe_processors, save_result, time_interleaved
from imagegen.schema.events import Queued, Result, Started
from imagegen.schema.models import ModelSource
from imagegen.schema.receipt import Picture, Receipt
from imagegen.schema.request import GenerationRequest
from imagegen.storage.database import Database
from imagegen.storage.jobs import JobSources, JobStore
from imagegen.storage.migrations import MIGRATIONS
from imagegen.storage.pictures import PictureStore

ROUNDS = 30
# The user of a studio without sign-in, on its own machine.
OWNER = "at:here"
WORDS = ("red", "green", "blue", "circle", "star", "square", "boat", "lake", "house", "sunset", "night", "meadow")
SOURCES = JobSources(model=ModelSource(id="embedded", name="Embedded", pipeline="P", path=Path("/none")))


def fill_library(folder: Path, count: int) -> None:
    """Stores finished jobs with one picture each, without its file, in a new data folder."""
    folder.mkdir(parents=True)
    with closing(Database(folder / "jobs.sqlite", MIGRATIONS)) as database, database.transaction():
        jobs, pictures = JobStore(database), PictureStore(database)
        for number, receipt in enumerate(make_receipts(count)):
            request = GenerationRequest(prompt=receipt.prompt, seed=receipt.seed)
            job = jobs.add(request, OWNER, SOURCES)
            result = Result(pictures=(Picture(id=f"{number:032x}", receipt=receipt, size_bytes=10**5),), latency_ms=1)
            for event in (Queued(position=0), Started(), result):
                jobs.append_event(job.id, event)
            pictures.add(OWNER, job.id, result.pictures, time.time() - count + number)


def make_receipts(count: int) -> Iterator[Receipt]:
    """Yields receipts with prompts of random words. The first prompt alone has the word `heron`."""
    words = random.Random(0)
    for number in range(count):
        prompt = " ".join(words.choices(WORDS, k=12)) + (" heron" if number == 0 else "")
        yield Receipt(
            prompt=prompt, negative_prompt="", width=512, height=512, steps=20, guidance_scale=3, sampler="Euler",
            seed=number, clip_skip=0, init_image=None, strength=None, model_id="embedded", device="cpu",
            dtype="float32", versions={},
        )  # fmt: skip


def build_requests(web: HttpClient) -> dict[str, Callable[[], object]]:
    return {
        "first page": lambda: web.get("/v1/pictures?limit=60"),
        "search, common word": lambda: web.get("/v1/pictures?limit=60&search=red"),
        "search, rare word": lambda: web.get("/v1/pictures?limit=60&search=heron"),
        "filter without a match": lambda: web.get("/v1/pictures?limit=60&favourite=true"),
        "submit": lambda: web.post("/v1/jobs", {"prompt": "a boat"}),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=20_000)
    count = parser.parse_args().pictures
    with TemporaryDirectory() as filled, ExitStack() as stack:
        fill_library(Path(filled) / "data", count)
        requests: dict[str, dict[str, Callable[[], object]]] = {}
        started: dict[str, float] = {}
        for name, prepare in (("empty", None), ("full", lambda folder: shutil.copytree(f"{filled}/data", folder))):
            began = time.perf_counter()
            port, _ = stack.enter_context(run_idle_studio(prepare))
            started[name] = time.perf_counter() - began
            requests[name] = build_requests(HttpClient(port))
        seconds = {
            label: time_interleaved({name: requests[name][label] for name in requests}, ROUNDS)
            for label in requests["empty"]
        }
    report = {
        "python": platform.python_version(),
        "pictures": count,
        "start, s": {name: round(value, 1) for name, value in started.items()},
        "ms": {
            label: {name: round(value * 1000, 1) for name, value in by_studio.items()}
            for label, by_studio in seconds.items()
        },
    }
    save_result("library", describe_processors(), report)


if __name__ == "__main__":
    main()
