"""Tiny models of real architectures, built once per test run, and an engine that generates with them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from imagegen.engine.engine import Engine, EngineEvent, EngineResult, JobControl, JobInputs
from imagegen.library.adapters import AdapterIndex
from imagegen.library.model_index import ModelIndex
from imagegen.library.snapshots import Snapshots
from imagegen.schema.models import AdapterSource, ModelInfo, ModelSource
from imagegen.schema.request import GenerationRequest
from imagegen.schema.validation import fill_in_defaults
from imagegen.settings import ASSETS_DIR
from tests.hub.tiny import TINY, TINY_DERIVED, TINY_EDITING, TINY_INPAINTING

BUILDERS = TINY | TINY_INPAINTING | TINY_EDITING | TINY_DERIVED

# A request names its start image by hash. The engine gets the image itself as a second argument.
ANY_IMAGE = "0" * 64


def name_start_image(start: Image.Image | None, mask: Image.Image | None = None) -> dict[str, Image.Image]:
    """Returns the input pictures of a job with this start image and mask, or without."""
    images = {"init_image": start, "mask_image": mask}
    return {name: image for name, image in images.items() if image is not None}


def new_control() -> JobControl:
    return JobControl(cancelled=threading.Event(), wants_previews=threading.Event())


def run_until_cancelled(engine: Engine, inputs: JobInputs, at: int = 1) -> list[EngineEvent]:
    """Returns the events of a job that is cancelled in its event number `at`, however slow the machine is."""
    control = new_control()
    events: list[EngineEvent] = []

    def on_event(event: EngineEvent) -> None:
        events.append(event)
        if len(events) == at:
            control.cancelled.set()

    engine.submit(inputs, control, on_event).result()
    return events


def run_together(engine: Engine, *job_inputs: JobInputs) -> list[list[EngineEvent]]:
    """Returns the events of each job. All jobs start in the same round of the engine."""
    events_by_job: list[list[EngineEvent]] = [[] for _ in job_inputs]
    with hold_engine(engine, job_inputs[0]):
        jobs = [
            engine.submit(inputs, new_control(), events.append)
            for inputs, events in zip(job_inputs, events_by_job, strict=True)
        ]
    for job in jobs:
        job.result()
    return events_by_job


@contextmanager
def hold_engine(engine: Engine, inputs: JobInputs) -> Iterator[None]:
    """Stops the engine's thread, so that what is submitted meanwhile starts together, however slow the machine is.

    The engine waits in the event of a job that was cancelled before it began: it needs no model and runs no pass.
    """
    control, may_go_on = new_control(), threading.Event()
    control.cancelled.set()

    def wait(event: EngineEvent) -> None:
        may_go_on.wait()

    holding = engine.submit(inputs, control, wait)
    try:
        yield
    finally:
        may_go_on.set()
    holding.result()


def get_final_image(events: Sequence[EngineEvent]) -> Image.Image:
    last = events[-1]
    assert isinstance(last, EngineResult)
    return last.images[0]


class EngineHarness:
    """Models and LoRAs in one folder, built at first use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = Engine("cpu")
        self.models = ModelIndex(ASSETS_DIR, folder, Snapshots(folder / "hub"))
        self.loras = AdapterIndex("lora", (folder / "loras",), Snapshots(folder / "hub"))
        self.embeddings = AdapterIndex("embedding", (folder / "embeddings",), Snapshots(folder / "hub"))
        for name in ("loras", "embeddings"):
            (folder / name).mkdir()

    def model(self, name: str) -> tuple[ModelInfo, ModelSource]:
        if name in BUILDERS and not (self.folder / name).exists():
            BUILDERS[name](self.folder / name)
        model = self.models.get(name)
        assert model.source is not None
        return model.info, model.source

    def make_inputs(
        self,
        name: str,
        adapters: Sequence[AdapterSource] = (),
        start: Image.Image | None = None,
        mask: Image.Image | None = None,
        **fields: Any,
    ) -> JobInputs:
        info, source = self.model(name)
        usual = {"prompt": "a red circle", "width": 64, "height": 64, "steps": 3, "seed": 1, "model": name}
        usual |= dict.fromkeys(name_start_image(start, mask), ANY_IMAGE)
        return JobInputs(
            fill_in_defaults(GenerationRequest(**{**usual, **fields}), info, seed=1),
            source,
            adapters,
            name_start_image(start, mask),
        )

    def run(self, inputs: JobInputs, control: JobControl | None = None) -> list[EngineEvent]:
        return list(self.engine.generate(inputs, control or new_control()))

    def run_concurrently(self, *job_inputs: JobInputs) -> list[list[EngineEvent]]:
        """Returns the events of jobs that run at the same time."""
        return run_together(self.engine, *job_inputs)

    def generate_image(self, name: str, adapters: Sequence[AdapterSource] = (), **fields: Any) -> Image.Image:
        *_, last = self.run(self.make_inputs(name, adapters, **fields))
        assert isinstance(last, EngineResult)
        return last.images[0]
