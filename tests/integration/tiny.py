"""Tiny models of true architectures, built once for a run of the tests, and an engine that generates with them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from imagegen.engine.engine import Control, Engine, Finished, Happening, Work
from imagegen.info import AdapterSource, ModelInfo, ModelSource
from imagegen.library.adapters import Adapters
from imagegen.library.models import Models
from imagegen.library.snapshots import Snapshots
from imagegen.schema import GenerationRequest
from imagegen.settings import ASSETS
from imagegen.validation import resolved
from tests.hub.tiny import TINY

# A request names the picture that it starts from by its hash. The engine gets the picture itself beside it.
ANY_IMAGE = "0" * 64


def unwatched() -> Control:
    return Control(cancelled=threading.Event(), previews=threading.Event())


def run_together(engine: Engine, *works: Work) -> list[list[Happening]]:
    told: list[list[Happening]] = [[] for _ in works]
    jobs = [engine.submit(work, unwatched(), events.append) for work, events in zip(works, told, strict=True)]
    for job in jobs:
        job.result()
    return told


def image_of(events: Sequence[Happening]) -> Image.Image:
    last = events[-1]
    assert isinstance(last, Finished)
    return last.images[0]


class Bench:
    """Models and LoRAs in one folder, made when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = Engine("cpu")
        self.models = Models(ASSETS, folder, Snapshots(folder / "hub"))
        self.loras = Adapters("lora", (folder / "loras",), Snapshots(folder / "hub"))
        self.embeddings = Adapters("embedding", (folder / "embeddings",), Snapshots(folder / "hub"))
        for name in ("loras", "embeddings"):
            (folder / name).mkdir()

    def model(self, name: str) -> tuple[ModelInfo, ModelSource]:
        if name in TINY and not (self.folder / name).exists():
            TINY[name](self.folder / name)
        model = self.models.get(name)
        assert model.source is not None
        return model.info, model.source

    def work(
        self, name: str, adapters: Sequence[AdapterSource] = (), start: Image.Image | None = None, **fields: Any
    ) -> Work:
        info, source = self.model(name)
        usual = {"prompt": "a red circle", "width": 64, "height": 64, "steps": 3, "seed": 1, "model": name}
        if start is not None:
            usual["init_image"] = ANY_IMAGE
        return Work(resolved(GenerationRequest(**{**usual, **fields}), info, seed=1), source, adapters, start)

    def events(self, work: Work, control: Control | None = None) -> list[Happening]:
        return list(self.engine.generate(work, control or unwatched()))

    def together(self, *works: Work) -> list[list[Happening]]:
        """The events of jobs that run at the same time."""
        return run_together(self.engine, *works)

    def picture(self, name: str, adapters: Sequence[AdapterSource] = (), **fields: Any) -> Image.Image:
        *_, last = self.events(self.work(name, adapters, **fields))
        assert isinstance(last, Finished)
        return last.images[0]
