"""Where orders meet the engine: one job at a time, in a thread, while orders about it come in. Needs torch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

from PIL import Image

from imagegen.engine.engine import Control, Engine, Finished
from imagegen.errors import ImageGenError, JobFailed
from imagegen.images import ImageStore
from imagegen.schema import Event, Failed, GenerationRequest, Result
from imagegen.workers.base import JobEvent, Report, WorkerReady
from imagegen.workers.messages import Cancel, Load, Previews, Run

logger = logging.getLogger(__name__)


class Desk:
    """Loads the engine, which takes a while, and then obeys orders. Reports may come from another thread."""

    def __init__(self, load: Load, report: Callable[[Report], None]) -> None:
        self.engine = Engine(load.model, load.models_dir / load.model.folder, load.device)
        self.images, self.report = ImageStore(load.data_dir), report
        self.job_id, self.control = "", Control(threading.Event(), threading.Event())
        report(WorkerReady(device=self.engine.device, dtype=self.engine.dtype))

    def obey(self, order: Run | Cancel | Previews) -> None:
        match order:
            case Run():
                self.job_id, self.control = order.job_id, Control(threading.Event(), threading.Event())
                self.want_previews(order.previews)
                threading.Thread(target=self.run, args=(order, self.control), daemon=True).start()
            case Cancel(job_id=self.job_id):
                self.control.cancelled.set()
            case Previews(job_id=self.job_id):
                self.want_previews(order.wanted)

    def want_previews(self, wanted: bool) -> None:
        (self.control.previews.set if wanted else self.control.previews.clear)()

    def run(self, order: Run, control: Control) -> None:
        for event in self.events(order.request, control):
            self.report(JobEvent(job_id=order.job_id, event=event))

    def events(self, request: GenerationRequest, control: Control) -> Iterator[Event]:
        """The events of one job; the last is always one that ends it."""
        try:
            for event in self.engine.generate(request, self.init_image(request), control):
                yield self.stored(event) if isinstance(event, Finished) else event
        except ImageGenError as error:
            yield Failed(code=error.code, message=str(error))
        except Exception:
            logger.exception("Generation failed")
            yield Failed(code=JobFailed.code, message=str(JobFailed()))

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
