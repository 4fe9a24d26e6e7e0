"""Stand-ins for what is slow: a worker that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from imagegen.info import ModelSource
from imagegen.library.library import Library
from imagegen.schema import Cancelled, Event, Picture, Receipt, Result
from imagegen.settings import Settings
from imagegen.workers.messages import JobEvent, Report, Run, WorkerGone, WorkerReady


def library(folder: Path) -> Library:
    """The one that ships with the studio, with room for more in `folder`."""
    return Library(Settings(models_dir=folder / "models"), hub_cache=folder / "cache")


class ScriptedWorker:
    """Remembers what it was asked; the test says what it reports."""

    def __init__(self) -> None:
        self.submitted: list[Run] = []
        self.warmed: list[ModelSource] = []
        self.released: list[str] = []
        self.cancelled: list[str] = []
        self.previews: dict[str, bool] = {}
        self._reports: asyncio.Queue[Report | None] = asyncio.Queue()

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        self._reports.put_nowait(None)

    def submit(self, run: Run) -> None:
        self.submitted.append(run)
        self.previews[run.job_id] = run.previews

    def warm(self, model: ModelSource) -> None:
        self.warmed.append(model)

    def release(self, model_id: str) -> None:
        self.released.append(model_id)

    def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)
        self.tell(job_id, Cancelled())

    def set_previews(self, job_id: str, wanted: bool) -> None:
        self.previews[job_id] = wanted

    async def reports(self) -> AsyncIterator[Report]:
        while (report := await self._reports.get()) is not None:
            yield report

    def ready(self) -> None:
        self._reports.put_nowait(WorkerReady(device="cpu", dtype="float32"))

    def gone(self, reason: str | None = None) -> None:
        self._reports.put_nowait(WorkerGone(reason=reason))

    def report(self, report: Report) -> None:
        self._reports.put_nowait(report)

    def tell(self, job_id: str, event: Event) -> None:
        self._reports.put_nowait(JobEvent(job_id=job_id, event=event))

    @property
    def current(self) -> str:
        return self.submitted[-1].job_id


def receipt(**changes: object) -> Receipt:
    values: dict[str, object] = {
        "prompt": "a red circle",
        "negative_prompt": "",
        "width": 128,
        "height": 128,
        "steps": 20,
        "guidance_scale": 3.0,
        "sampler": "DPM++ 2M",
        "seed": 7,
        "clip_skip": 0,
        "init_image": None,
        "strength": None,
        "model_id": "embedded",
        "device": "cpu",
        "dtype": "float32",
        "versions": {"torch": "2"},
    }
    return Receipt.model_validate(values | changes)


def result(picture_id: str = "0" * 32) -> Result:
    return Result(pictures=(Picture(id=picture_id, receipt=receipt()),), latency_ms=1200)
