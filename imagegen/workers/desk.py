"""Where orders meet the engine. What has to do with files is done in other threads than its own. Needs torch."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from imagegen.engine import toolkit
from imagegen.engine.devices import chosen_device
from imagegen.engine.engine import VERSIONS, Control, Engine, Finished, Happening, Work
from imagegen.errors import ImageGenError, JobFailed, WorkerUnavailable
from imagegen.images import ImageStore
from imagegen.info import ModelSource
from imagegen.schema import LAST_EVENTS, Event, Failed, GenerationRequest, Result
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

# How many are read or written at a time.
FILES = 4


class Desk:
    """Obeys orders, once it is opened. Reports come from other threads.

    Raises WorkerUnavailable when the device is missing.
    """

    def __init__(self, load: Load, report: Callable[[Report], None]) -> None:
        self.engine = Engine(
            load.device,
            load.gpu_memory_gb,
            load.memory_gb,
            load.low_memory,
            changed=self.tell_held,
            exact=load.exact,
            compiled=folder_of_compiled(load),
        )
        self.images, self.report = ImageStore(load.data_dir), report
        self._running: dict[str, Control] = {}
        # Jobs begin in the order in which they were asked for.
        self._beginning = ThreadPoolExecutor(1, "beginning")
        self._ending, self._writing = ThreadPoolExecutor(FILES, "ending"), ThreadPoolExecutor(FILES, "writing")

    def open(self, first: ModelSource) -> None:
        """Loads the first model, which takes a while. Raises WorkerUnavailable when it cannot be loaded."""
        try:
            self.engine.warm(first)
        except ImageGenError as error:
            raise WorkerUnavailable(str(error)) from None
        self.report(WorkerReady(device=self.engine.device, dtype=self.engine.dtype, versions=VERSIONS))

    def obey(self, order: Order) -> None:
        match order:
            case Run():
                control = self._running[order.job_id] = Control(threading.Event(), threading.Event())
                want_previews(control, order.previews)
                self._beginning.submit(self.begin, order, control)
            case Cancel() if running := self._running.get(order.job_id):
                self.engine.cancel(running)
            case Previews() if running := self._running.get(order.job_id):
                want_previews(running, order.wanted)
            case Warm():
                threading.Thread(target=self.warm, args=(order.model,), daemon=True).start()
            case Release():
                self._ending.submit(self.engine.release, order.model_id)

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

    def begin(self, order: Run, control: Control) -> None:
        """Tells the events of one job; the last is always one that ends it."""

        def say(event: Happening) -> None:
            if isinstance(event, Finished):
                self._ending.submit(self.end, order.job_id, event)
            else:
                self.tell(order.job_id, event)

        def ended(future: Future[None]) -> None:
            if (error := future.exception()) is not None:
                self.tell(order.job_id, Failed(**failure(error)))

        try:
            work = Work(order.request, order.model, order.adapters, self.init_image(order.request))
            self.engine.submit(work, control, say).add_done_callback(ended)
        except Exception as error:
            self.tell(order.job_id, Failed(**failure(error)))

    def end(self, job_id: str, finished: Finished) -> None:
        try:
            self.tell(job_id, self.stored(finished))
        except Exception as error:
            self.tell(job_id, Failed(**failure(error)))

    def tell(self, job_id: str, event: Event) -> None:
        if isinstance(event, LAST_EVENTS):
            self._running.pop(job_id, None)
        self.report(JobEvent(job_id=job_id, event=event))

    def init_image(self, request: GenerationRequest) -> Image.Image | None:
        if request.init_image is None:
            return None
        with Image.open(self.images.input_path(request.init_image)) as image:
            return image.convert("RGB")

    def stored(self, finished: Finished) -> Result:
        return Result(
            pictures=tuple(self._writing.map(self.images.write, finished.images, finished.receipts)),
            latency_ms=finished.latency_ms,
            vram_peak_mb=finished.vram_peak_mb,
        )


def folder_of_compiled(load: Load) -> Path | None:
    """None where nothing is to be compiled, or cannot be."""
    on_gpu = chosen_device(load.device).type == "cuda"
    if load.compile == "off" or (load.compile == "auto" and not on_gpu):
        return None
    missing = "g++" if shutil.which("g++") is None else toolkit.missing_header() if on_gpu else None
    if missing is not None:
        logger.warning("Networks are not compiled: there is no %s", missing, extra={"action": "no_compiler"})
        return None
    return load.data_dir / "compiled"


def want_previews(control: Control, wanted: bool) -> None:
    (control.previews.set if wanted else control.previews.clear)()


def failure(error: BaseException) -> dict[str, str]:
    """What to tell of it. What nobody foresaw goes to the log, and only there."""
    if isinstance(error, ImageGenError):
        return {"code": error.code, "message": str(error)}
    logger.error("Generation failed", exc_info=error)
    return {"code": JobFailed.code, "message": str(JobFailed())}
