"""Doubles for slow parts: a scripted worker, and a library with the embedded model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from imagegen.library.library import Library
from imagegen.schema.events import Cancelled, Event, Result
from imagegen.schema.models import ModelSource
from imagegen.schema.receipt import Picture, Receipt
from imagegen.settings import Settings
from imagegen.storage.jobs import JobSources
from imagegen.workers.messages import JobEvent, JobOrder, MakeMap, ModelWarmed, Report, WorkerGone, WorkerReady


def make_library(folder: Path) -> Library:
    """Returns a library with the shipped models, which uses `folder` for all others."""
    return Library(Settings(models_dir=folder / "models", data_dir=folder / "data"), hub_cache=folder / "cache")


class ScriptedWorker:
    """Records its calls; the test makes its reports. With several `names` it stands for a pool."""

    def __init__(self, *names: str) -> None:
        self.names = names or ("cpu",)
        self.submitted: list[JobOrder] = []
        self.worker_by_job: dict[str, str] = {}
        self.warming_workers: list[str] = []
        self.warmed: list[ModelSource] = []
        self.warm_ids: list[str] = []
        self.cancelled_warms: list[str] = []
        self.released: list[str] = []
        self.maps: list[MakeMap] = []
        self.cancelled: list[str] = []
        self.finished_early: list[str] = []
        self.previews: dict[str, bool] = {}
        self._reports: asyncio.Queue[Report | None] = asyncio.Queue()

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        self._reports.put_nowait(None)

    def submit(self, order: JobOrder, worker: str) -> None:
        self.submitted.append(order)
        self.worker_by_job[order.job_id] = worker
        self.previews[order.job_id] = order.wants_previews

    def warm(self, model: ModelSource, worker: str, warm_id: str) -> None:
        self.warmed.append(model)
        self.warming_workers.append(worker)
        self.warm_ids.append(warm_id)

    def cancel_warm(self, warm_id: str, worker: str) -> None:
        self.cancelled_warms.append(warm_id)

    def make_map(self, order: MakeMap, worker: str) -> None:
        self.maps.append(order)

    def release(self, model_id: str) -> None:
        self.released.append(model_id)

    def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)
        self.emit_event(job_id, Cancelled())

    def finish_early(self, job_id: str) -> None:
        self.finished_early.append(job_id)

    def set_previews(self, job_id: str, wanted: bool) -> None:
        self.previews[job_id] = wanted

    async def reports(self) -> AsyncIterator[Report]:
        while (report := await self._reports.get()) is not None:
            yield report

    def report_ready(self, worker: str = "cpu") -> None:
        self._reports.put_nowait(WorkerReady(worker=worker, device="cpu", dtype="float32"))

    def report_gone(self, reason: str | None = None, worker: str = "cpu") -> None:
        self._reports.put_nowait(WorkerGone(worker=worker, reason=reason))

    def emit_report(self, report: Report) -> None:
        self._reports.put_nowait(report)

    def report_warmed(self, model_id: str, code: str | None = None, message: str | None = None) -> None:
        """Ends the last load of a model. Only a load that was asked for ends."""
        calls = zip(self.warmed, self.warm_ids, self.warming_workers, strict=True)
        warm_id, worker = [(warm_id, worker) for model, warm_id, worker in calls if model.id == model_id][-1]
        self._reports.put_nowait(ModelWarmed(worker=worker, warm_id=warm_id, code=code, message=message))

    def emit_event(self, job_id: str, event: Event) -> None:
        worker = self.worker_by_job.get(job_id, self.names[0])
        self._reports.put_nowait(JobEvent(worker=worker, job_id=job_id, event=event))

    @property
    def current_job_id(self) -> str:
        return self.submitted[-1].job_id


def make_sources() -> JobSources:
    return JobSources(model=ModelSource(id="mine", name="Mine", pipeline="StableDiffusionPipeline", path=Path("/mine")))


def make_receipt(**changes: object) -> Receipt:
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


def make_result(picture_id: str = "0" * 32, **receipt: object) -> Result:
    return Result(pictures=(Picture(id=picture_id, receipt=make_receipt(**receipt)),), latency_ms=1200)
