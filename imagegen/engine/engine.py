"""The engine of one device: runs jobs, several at a time, and emits their events."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from PIL import Image

from imagegen.engine.adapters.adapter_cache import AdapterCache
from imagegen.engine.batching.batcher import Batcher, NetworkReply, PendingCall
from imagegen.engine.batching.pass_timer import PassTimer
from imagegen.engine.compile.accelerator import CompilePool
from imagegen.engine.controls.loading import CONTROLNETS
from imagegen.engine.detectors.loading import DETECTORS
from imagegen.engine.devices import choose_device, choose_dtype
from imagegen.engine.event_generator import generate_events
from imagegen.engine.ip_adapters.networks import IMAGE_ENCODERS, IP_ADAPTERS
from imagegen.engine.job import (
    EngineEvent,
    EngineJob,
    EngineResult,
    EventEmitter,
    JobControl,
    JobInputs,
    JobInterrupted,
)
from imagegen.engine.models.budget import MemoryBudget
from imagegen.engine.models.loaded import LoadedModel
from imagegen.engine.models.network_cache import LoadedNetwork, NetworkCache, NetworkKind
from imagegen.engine.models.network_files import READ_ERRORS
from imagegen.engine.models.out_of_memory import convert_out_of_memory
from imagegen.engine.models.store import ModelStore
from imagegen.engine.preprocessors.loading import PREPROCESSOR_NETWORKS
from imagegen.engine.preprocessors.networks import make_control_map
from imagegen.engine.previews.decoder import PreviewDecoder
from imagegen.engine.receipts import VERSIONS, build_receipts
from imagegen.engine.run_loop import Reply, RunLoop, complete_future
from imagegen.engine.stage_runner import StageRunner
from imagegen.engine.stages import plan_stages
from imagegen.engine.upscaling.upscaler_cache import UpscalerCache
from imagegen.engine.vaes.loading import VAES
from imagegen.errors import ModelLoadFailed, ModelTooLarge
from imagegen.schema.events import Cancelled, Loading
from imagegen.schema.models import AdapterSource, ModelSource, SourceKind

logger = logging.getLogger(__name__)

NETWORK_KINDS: Mapping[SourceKind, NetworkKind] = {
    "controlnet": CONTROLNETS,
    "ip_adapter": IP_ADAPTERS,
    "image_encoder": IMAGE_ENCODERS,
    "detector": DETECTORS,
    "preprocessor": PREPROCESSOR_NETWORKS,
    "vae": VAES,
}
__all__ = ["VERSIONS", "Engine", "EngineEvent", "EngineResult", "JobControl", "JobInputs", "JobInterrupted"]


class Engine:
    """One device, and the models in its memory. Raises WorkerUnavailable when the device is missing.

    Jobs start when they arrive, and share the passes of each step. A job whose model does not fit beside the models in
    use waits for them, and so do the jobs that arrive after it. With `exact`, each job has its own passes, so that its
    numbers do not depend on other jobs. Networks that are used often are compiled in the background, and the results
    are kept in `compile_folder`; None compiles none. `on_change` is called when models come or go. Memory limits are in
    units of 10^9 bytes; `memory_gb` is divided equally among the `worker_count` engines on this machine. `low_memory`
    is an OffloadMode or "auto".
    """

    def __init__(
        self,
        device: str = "auto",
        gpu_memory_gb: float | None = None,
        memory_gb: float | None = None,
        low_memory: str = "auto",
        on_change: Callable[[], None] = lambda: None,
        exact: bool = False,
        compile_folder: Path | None = None,
        worker_count: int = 1,
    ) -> None:
        torch_device = choose_device(device)
        dtype = choose_dtype(torch_device)
        self.device, self.dtype = torch_device.type, str(dtype).removeprefix("torch.")
        budget = MemoryBudget.from_limits(torch_device, gpu_memory_gb, memory_gb, low_memory, worker_count)
        compile_pool = None if exact else CompilePool(torch_device, compile_folder)
        self.memory = budget.describe(torch_device, dtype)
        self._networks = NetworkCache(torch_device, dtype, NETWORK_KINDS, on_change)
        self.store = ModelStore(torch_device, dtype, budget, self._networks, on_change, compile_pool)
        self.pass_timer = PassTimer(torch_device, compile_pool.measure_graph_bytes if compile_pool else int)
        self._adapters, self._upscalers = AdapterCache(), UpscalerCache(torch_device)
        self._batcher = Batcher(self.pass_timer, exact, self.store.release_compiled)
        self._loop = RunLoop(self._handle_requests)
        self._waiting: list[EngineJob] = []
        # The jobs that wait for their model.
        self._loading: list[tuple[JobControl, EventEmitter]] = []
        self._running_count = 0

    def submit(self, inputs: JobInputs, control: JobControl, emit: Callable[[EngineEvent], None]) -> Future[None]:
        """Runs a job. Its last event is an EngineResult or Cancelled; the future is done when the job uses no model.

        `emit` is called in the engine's thread; what it raises ends the job. The future raises NonFiniteLatents,
        OutOfMemory, ModelLoadFailed, UnusableModel for an adapter that does not fit, InvalidRequest for a prompt that
        is too long, and what the pipeline raises.
        """

        emitter = EventEmitter(emit)

        def run() -> None:
            try:
                emitter.emit(self._run_job(inputs, control, emitter))
            except JobInterrupted:
                emitter.emit(Cancelled())
            except Exception:
                if not emitter.has_ended:  # It may have been cancelled while its model could not be loaded.
                    raise

        return self._enqueue(inputs.model, run, control)

    def generate(self, inputs: JobInputs, control: JobControl) -> Generator[EngineEvent]:
        """Runs a job, and yields its events. Closing the generator ends the job at its next event."""
        return generate_events(lambda emit: self.submit(inputs, control, emit))

    def cancel(self, control: JobControl) -> None:
        """Ends a job at its next step, or at once while it waits. Does nothing to one that `finish_early` ends.

        A model that is being read only for cancelled jobs is dropped when its read has ended, or before.
        """
        if control.finish_requested.is_set():
            return
        control.cancelled.set()
        self._loop.post(self._end_loading_jobs)
        self._loop.post(self._start_waiting_jobs)

    def finish_early(self, control: JobControl) -> None:
        """Ends a job after its next step, with an EngineResult of the pictures as they are then."""
        control.finish_requested.set()

    def warm(self, model: ModelSource, control: JobControl | None = None) -> None:
        """Brings a model to the device.

        Raises ModelLoadFailed, ModelTooLarge, PackageMissing and OutOfMemory; JobInterrupted after `cancel(control)`.
        """
        loading = control or JobControl(threading.Event(), threading.Event())

        def run() -> None:
            with convert_out_of_memory(), self.store.use(model, is_cancelled=loading.cancelled.is_set):
                pass

        self._enqueue(model, run, loading).result()

    def make_map(self, networks: Sequence[AdapterSource], image: Image.Image) -> Image.Image:
        """Returns the control map of a picture, by a preprocessor and the networks that it needs, which are loaded.

        Waits for it. Raises ModelLoadFailed, ModelTooLarge and OutOfMemory.
        """
        maps: list[Image.Image] = []

        def run() -> None:
            with (
                convert_out_of_memory(),
                self._networks.use(networks, self.store.make_room, lambda _: None) as loaded,
            ):
                maps.append(make_control_map(loaded, image))

        self._enqueue(None, run, JobControl(threading.Event(), threading.Event())).result()
        return maps[0]

    def release(self, model_id: str) -> None:
        """Removes a model, an upscaler, or a network of NETWORK_KINDS from memory, unless it is in use."""

        def release() -> None:
            self.store.release(model_id)
            self._upscalers.release(model_id)
            self._networks.release(model_id)

        self._loop.call(release).result()

    def _enqueue(self, model: ModelSource | None, run: Callable[[], None], control: JobControl) -> Future[None]:
        done: Future[None] = Future()

        def run_to_end() -> None:
            try:
                complete_future(done, run)
            finally:
                self._running_count -= 1
                self._loop.post(self._start_waiting_jobs)

        def enqueue() -> None:
            self._waiting.append(EngineJob(model, run_to_end, control))
            self._start_waiting_jobs()

        self._loop.post(enqueue)
        return done

    def _start_waiting_jobs(self) -> None:
        """Starts jobs in the order of their arrival while there is memory. Cancelled jobs start, and end at once."""
        for job in [job for job in self._waiting if job.control.cancelled.is_set()]:
            self._start_job(job)
        while self._waiting and self._can_admit(self._waiting[0].model):
            self._start_job(self._waiting[0])

    def _can_admit(self, model: ModelSource | None) -> bool:
        return model is None or self.store.can_admit(model)

    def _start_job(self, job: EngineJob) -> None:
        self._waiting.remove(job)
        if not self._running_count:
            self.pass_timer.reset_peak()
        self._running_count += 1
        self._loop.start(job.run, job)

    def _handle_requests(self, pending: Sequence[PendingCall]) -> Iterator[NetworkReply]:
        cancelled = [task for task, _ in pending if task.context.control.cancelled.is_set()]
        yield from (Reply(task, error=JobInterrupted()) for task in cancelled)
        yield from self._batcher.process([(task, call) for task, call in pending if task not in cancelled])

    def _end_loading_jobs(self) -> None:
        for control, emitter in self._loading:
            if control.cancelled.is_set():
                emitter.emit(Cancelled())

    def _run_job(self, inputs: JobInputs, control: JobControl, emitter: EventEmitter) -> EngineResult:
        control.raise_if_cancelled()
        started_at = time.monotonic()

        with convert_out_of_memory(), self._use_model(inputs.model, control, emitter) as model:
            control.raise_if_cancelled()
            adapters = self._adapters.resolve_adapters(inputs.adapters, model) if model is not None else None
            with (
                self._use_networks(inputs, emitter.emit) as networks,
                self._use_preview_decoder(inputs.preview_decoder) as decoder,
            ):
                runner = StageRunner(inputs, model, adapters, networks, self._upscalers, control, emitter.emit, decoder)
                output = runner.run_all(plan_stages(inputs.request))
        size = output.images[0].size
        return EngineResult(
            images=output.images,
            receipts=build_receipts(
                inputs, self.device, self.dtype, size, output.unfinished_at_step, output.detail_boxes
            ),
            latency_ms=round((time.monotonic() - started_at) * 1000),
            vram_peak_mb=self.pass_timer.get_peak_mb(),
        )

    def _use_networks(
        self, inputs: JobInputs, emit: Callable[[EngineEvent], None]
    ) -> AbstractContextManager[Sequence[LoadedNetwork]]:
        make_room = self.store.make_room
        return self._networks.use(inputs.adapters, make_room, lambda source: emit(Loading(model=source.name)))

    @contextmanager
    def _use_preview_decoder(self, source: AdapterSource | None) -> Iterator[PreviewDecoder | None]:
        """Yields the decoder of a job's previews; None where there is none, or where it cannot be used.

        No picture depends on it, so that a job goes on without it.
        """
        with ExitStack() as stack:
            decoder = None
            if source is not None:
                try:
                    (loaded,) = stack.enter_context(self._networks.use([source], self.store.make_room, lambda _: None))
                    decoder = PreviewDecoder(loaded.network)
                except (ModelLoadFailed, ModelTooLarge, *READ_ERRORS) as error:
                    logger.warning("No decoder for previews: %s", error, extra={"action": "preview_decoder_failed"})
            yield decoder

    @contextmanager
    def _use_model(
        self, source: ModelSource | None, control: JobControl, emitter: EventEmitter
    ) -> Iterator[LoadedModel | None]:
        """Yields the model on the device, None for a job that needs none."""
        if source is None:
            yield None
            return
        waiting = control, emitter
        self._loading.append(waiting)
        with ExitStack() as stack:
            try:
                model = stack.enter_context(
                    self.store.use(source, lambda: emitter.emit(Loading(model=source.name)), control.cancelled.is_set)
                )
            finally:
                self._loading.remove(waiting)
            yield model
