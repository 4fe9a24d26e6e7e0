"""Connects commands with the engine. Files are read and written in threads of their own. Needs torch."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from imagegen.engine.compile import cuda_headers
from imagegen.engine.devices import choose_device
from imagegen.engine.engine import VERSIONS, Engine, EngineEvent, EngineResult, JobControl, JobInputs, JobInterrupted
from imagegen.errors import ImageGenError, JobFailed, LoadStopped, WorkerUnavailable
from imagegen.schema.events import FINAL_EVENTS, Event, Failed, Result
from imagegen.schema.input_images import get_input_images
from imagegen.schema.models import ModelSource
from imagegen.schema.request import GenerationRequest
from imagegen.storage.files import ImageStore
from imagegen.workers.messages import (
    CancelJob,
    CancelWarm,
    Command,
    FinishJob,
    JobEvent,
    JobOrder,
    MakeMap,
    MapMade,
    ModelsInMemory,
    ModelWarmed,
    ReleaseModel,
    Report,
    SetPreviews,
    WarmModel,
    WorkerConfig,
    WorkerReady,
)

logger = logging.getLogger(__name__)

# How many files are read or written at a time.
FILE_THREADS = 4


class EngineHost:
    """Handles commands, and calls `report` from other threads.

    Raises WorkerUnavailable when the device is missing.
    """

    def __init__(self, config: WorkerConfig, report: Callable[[Report], None]) -> None:
        self.engine = Engine(
            config.device,
            config.gpu_memory_gb,
            config.memory_gb,
            config.low_memory,
            on_change=self.report_models,
            exact=config.exact,
            compile_folder=choose_compile_folder(config),
            worker_count=config.worker_count,
        )
        self.name, self.images, self.report = config.name, ImageStore(config.data_dir), report
        self._controls: dict[str, JobControl] = {}
        # What cancels the loading of a model, by its `warm_id`.
        self._warm_controls: dict[str, JobControl] = {}
        # Jobs start in the order in which they were submitted.
        self._start_executor = ThreadPoolExecutor(1, "start-job")
        self._finish_executor = ThreadPoolExecutor(FILE_THREADS, "finish-job")
        self._write_executor = ThreadPoolExecutor(FILE_THREADS, "write-picture")

    def start(self, first_model: ModelSource) -> None:
        """Loads the first model and reports WorkerReady. Raises WorkerUnavailable when it cannot be loaded."""
        try:
            self.engine.warm(first_model)
        except ImageGenError as error:
            raise WorkerUnavailable(str(error)) from None
        engine = self.engine
        self.report(
            WorkerReady(
                worker=self.name, device=engine.device, dtype=engine.dtype, versions=VERSIONS, memory=engine.memory
            )
        )

    def handle(self, command: Command) -> None:
        """Carries out a command without waiting for it. One for a job that has ended does nothing."""
        match command:
            case JobOrder():
                control = self._controls[command.job_id] = JobControl(threading.Event(), threading.Event())
                switch_previews(control, command.wants_previews)
                self._start_executor.submit(self.start_job, command, control)
            case CancelJob() if running := self._controls.get(command.job_id):
                self.engine.cancel(running)
            case FinishJob() if running := self._controls.get(command.job_id):
                self.engine.finish_early(running)
            case SetPreviews() if running := self._controls.get(command.job_id):
                switch_previews(running, command.is_wanted)
            case WarmModel():
                control = self._warm_controls[command.warm_id] = JobControl(threading.Event(), threading.Event())
                threading.Thread(target=self.warm, args=(command, control), daemon=True).start()
            case CancelWarm() if loading := self._warm_controls.get(command.warm_id):
                self.engine.cancel(loading)
            case MakeMap():
                threading.Thread(target=self.make_map, args=(command,), daemon=True).start()
            case ReleaseModel():
                self._finish_executor.submit(self.engine.release, command.model_id)

    def report_models(self) -> None:
        store = self.engine.store
        usage = store.measure_usage()
        self.report(ModelsInMemory(worker=self.name, models=tuple(store.models), bytes_by_device=usage))

    def warm(self, command: WarmModel, control: JobControl) -> None:
        """Loads a model, and reports that it is on the device or why it is not."""
        reply = ModelWarmed(worker=self.name, warm_id=command.warm_id)
        try:
            self.engine.warm(command.model, control)
        except JobInterrupted:
            reply = reply.model_copy(update=build_error_fields(LoadStopped()))
        except Exception as error:
            reply = reply.model_copy(update=build_error_fields(error))
        finally:
            del self._warm_controls[command.warm_id]
        self.report(reply)

    def make_map(self, command: MakeMap) -> None:
        """Stores the control map of an input picture, and reports its id or why there is none."""
        reply = MapMade(worker=self.name, map_id=command.map_id)
        try:
            made = self.engine.make_map(command.networks, self.images.load_input(command.image_id))
            reply = reply.model_copy(update={"image_id": self.images.write_input(made)})
        except Exception as error:
            reply = reply.model_copy(update=build_error_fields(error))
        self.report(reply)

    def start_job(self, order: JobOrder, control: JobControl) -> None:
        """Runs a job and reports its events; the last one is always a final event."""

        def on_event(event: EngineEvent) -> None:
            if isinstance(event, EngineResult):
                self._finish_executor.submit(self.finish_job, order.job_id, event)
            else:
                self.emit(order.job_id, event)

        def on_done(future: Future[None]) -> None:
            if (error := future.exception()) is not None:
                self.emit(order.job_id, Failed(**build_error_fields(error)))

        try:
            images = self.load_input_images(order.request)
            inputs = JobInputs(
                request=order.request,
                model=order.model,
                adapters=order.adapters,
                input_images=images,
                model_sha256=order.model_sha256,
                requested=order.requested,
                upscalers=order.upscalers,
                preview_decoder=order.preview_decoder,
            )
            self.engine.submit(inputs, control, on_event).add_done_callback(on_done)
        except Exception as error:
            self.emit(order.job_id, Failed(**build_error_fields(error)))

    def finish_job(self, job_id: str, engine_result: EngineResult) -> None:
        """Stores the pictures and reports the result; a failure to store them fails the job."""
        try:
            self.emit(job_id, self.store_result(engine_result))
        except Exception as error:
            self.emit(job_id, Failed(**build_error_fields(error)))

    def emit(self, job_id: str, event: Event) -> None:
        if isinstance(event, FINAL_EVENTS):
            self._controls.pop(job_id, None)
        self.report(JobEvent(worker=self.name, job_id=job_id, event=event))

    def load_input_images(self, request: GenerationRequest) -> dict[str, Image.Image]:
        """Returns the input pictures that a request names, by place. Raises OSError for one that is not on disk."""
        return {place: self.images.load_input(image_id) for place, image_id in get_input_images(request).items()}

    def store_result(self, engine_result: EngineResult) -> Result:
        return Result(
            pictures=tuple(
                self._write_executor.map(self.images.write_picture, engine_result.images, engine_result.receipts)
            ),
            latency_ms=engine_result.latency_ms,
            vram_peak_mb=engine_result.vram_peak_mb,
        )


def choose_compile_folder(config: WorkerConfig) -> Path | None:
    """Returns the folder for compiled networks; None when the settings or a missing compiler rule compiling out."""
    is_cuda = choose_device(config.device).type == "cuda"
    if config.compile == "off" or (config.compile == "auto" and not is_cuda):
        return None
    missing = "g++" if shutil.which("g++") is None else cuda_headers.find_missing_header() if is_cuda else None
    if missing is not None:
        logger.warning("Networks are not compiled: there is no %s", missing, extra={"action": "no_compiler"})
        return None
    return config.data_dir / "compiled"


def switch_previews(control: JobControl, is_wanted: bool) -> None:
    (control.wants_previews.set if is_wanted else control.wants_previews.clear)()


def build_error_fields(error: BaseException) -> dict[str, str]:
    """Returns code and message of an error for users. An unexpected error goes to the log, and only there."""
    if isinstance(error, ImageGenError):
        return {"code": error.code, "message": str(error)}
    logger.error("Generation failed", exc_info=error)
    return {"code": JobFailed.code, "message": str(JobFailed())}
