"""Where orders meet the engine: one job at a time, in a thread, while orders about it come in. Needs torch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from imagegen.engine.engine import Control, Engine, Finished, Work
from imagegen.errors import ImageGenError, JobFailed, WorkerUnavailable
from imagegen.images import ImageStore
from imagegen.info import ModelSource
from imagegen.schema import Event, Failed, GenerationRequest, Result
from imagegen.workers.messages import (
    Cancel,
    Held,
    JobEvent,
    Load,
    Order,
    Previews,
    Release,
    Report,
    Run,
    Warm,
    Warmed,
    WorkerReady,
)

logger = logging.getLogger(__name__)


class Desk:
    """Obeys orders, once it is opened. Reports come from other threads.

    Raises WorkerUnavailable when the device is missing.
    """

    def __init__(self, load: Load, report: Callable[[Report], None]) -> None:
        self.engine = Engine(load.device, load.gpu_memory_gb, load.memory_gb, load.low_memory, self.tell_held)
        self.images, self.report = ImageStore(load.data_dir), report
        self.job_id, self.control = "", Control(threading.Event(), threading.Event())
        # One thing at a time, in the order in which it was asked for.
        self._work = ThreadPoolExecutor(1, "desk")

    def open(self, first: ModelSource) -> None:
        """Loads the first model, which takes a while. Raises WorkerUnavailable when it cannot be loaded."""
        try:
            self.engine.warm(first)
        except ImageGenError as error:
            raise WorkerUnavailable(str(error)) from None
        self.report(WorkerReady(device=self.engine.device, dtype=self.engine.dtype))

    def obey(self, order: Order) -> None:
        match order:
            case Run():
                self.job_id, self.control = order.job_id, Control(threading.Event(), threading.Event())
                self.want_previews(order.previews)
                self._work.submit(self.run, order, self.control)
            case Cancel(job_id=self.job_id):
                self.control.cancelled.set()
            case Previews(job_id=self.job_id):
                self.want_previews(order.wanted)
            case Warm():
                self._work.submit(self.warm, order.model)
            case Release():
                self._work.submit(self.engine.release, order.model_id)

    def want_previews(self, wanted: bool) -> None:
        (self.control.previews.set if wanted else self.control.previews.clear)()

    def tell_held(self) -> None:
        store = self.engine.store
        self.report(Held(models=tuple(store.held), memory=store.memory()))

    def warm(self, model: ModelSource) -> None:
        answer = Warmed(model_id=model.id)
        try:
            self.engine.warm(model)
        except Exception as error:
            answer = answer.model_copy(update=failure(error))
        self.report(answer)

    def run(self, order: Run, control: Control) -> None:
        for event in self.events(order, control):
            self.report(JobEvent(job_id=order.job_id, event=event))

    def events(self, order: Run, control: Control) -> Iterator[Event]:
        """The events of one job; the last is always one that ends it."""
        try:
            work = Work(order.request, order.model, order.adapters, self.init_image(order.request))
            for event in self.engine.generate(work, control):
                yield self.stored(event) if isinstance(event, Finished) else event
        except Exception as error:
            yield Failed(**failure(error))

    def init_image(self, request: GenerationRequest) -> Image.Image | None:
        if request.init_image is None:
            return None
        with Image.open(self.images.input_path(request.init_image)) as image:
            return image.convert("RGB")

    def stored(self, finished: Finished) -> Result:
        pictures = zip(finished.images, finished.receipts, strict=True)
        return Result(
            pictures=tuple(self.images.write(image, receipt) for image, receipt in pictures),
            latency_ms=finished.latency_ms,
            vram_peak_mb=finished.vram_peak_mb,
        )


def failure(error: Exception) -> dict[str, str]:
    """What to tell of it. What nobody foresaw goes to the log, and only there."""
    if isinstance(error, ImageGenError):
        return {"code": error.code, "message": str(error)}
    logger.error("Generation failed", exc_info=error)
    return {"code": JobFailed.code, "message": str(JobFailed())}
