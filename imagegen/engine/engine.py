"""The engine: a request in, events out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import diffusers
import torch
import transformers
from PIL import Image

from imagegen.engine.adapters import AdapterCache, Dressed
from imagegen.engine.batching import Asked, Batcher
from imagegen.engine.devices import chosen_device, dtype_for
from imagegen.engine.fibres import Answer, Loop, current, settle
from imagegen.engine.fitting import compression
from imagegen.engine.held import Held, pipeline_for
from imagegen.engine.layout import UNPACKED
from imagegen.engine.loading import Pipeline
from imagegen.engine.memory import in_memory
from imagegen.engine.prompting import prompt_arguments
from imagegen.engine.quick import Workshop
from imagegen.engine.run import Control, Steps, Stopped, View, arguments, pictures, seeds
from imagegen.engine.step_cache import StepCache
from imagegen.engine.stopwatch import Stopwatch
from imagegen.engine.store import Budget, ModelStore
from imagegen.engine.stream import streamed
from imagegen.engine.wearing import NOTHING, Outfit
from imagegen.errors import InvalidRequest
from imagegen.info import AdapterSource, ModelSource
from imagegen.schema import Cancelled, GenerationRequest, Loading, Progress, Receipt, UsedEmbedding, UsedLora

__all__ = ["VERSIONS", "Control", "Engine", "Finished", "Work"]

# What a receipt says otherwise than a request.
NOT_OF_ONE = {"prompt", "more_prompts", "seed", "batch_size", "model", "loras", "embeddings"}
VERSIONS = {module.__name__: module.__version__ for module in (torch, diffusers, transformers)}


@dataclass(frozen=True)
class Finished:
    """Pictures, and a receipt for each. `vram_peak_mb` is None without a CUDA device."""

    images: list[Image.Image]
    receipts: list[Receipt]
    latency_ms: int
    vram_peak_mb: float | None


Happening = Loading | Progress | Cancelled | Finished


@dataclass(frozen=True)
class Work:
    """All that decides a picture: a request that leaves nothing open, and what it is made with."""

    request: GenerationRequest
    model: ModelSource
    adapters: Sequence[AdapterSource] = ()
    init_image: Image.Image | None = None


@dataclass
class Job:
    """A run, from when it arrives. `outfit` is what the denoiser wears for it, `cache` may guess what it would say."""

    model: ModelSource
    run: Callable[[], None]
    control: Control
    outfit: Outfit = NOTHING
    cache: StepCache = field(default_factory=StepCache)


class Engine:
    """One device, and the models that it holds. Raises WorkerUnavailable when the device is missing.

    Jobs begin as they arrive, and share every step; one whose model does not fit beside those in use waits for them,
    and those that arrive after it wait as well. When `exact`, no job's numbers depend on who else is there. Networks
    that work often are compiled in the background, and kept in the folder `compiled`; None compiles none.
    """

    def __init__(
        self,
        device: str = "auto",
        gpu_memory_gb: float | None = None,
        memory_gb: float | None = None,
        low_memory: str = "auto",
        changed: Callable[[], None] = lambda: None,
        exact: bool = False,
        compiled: Path | None = None,
    ) -> None:
        place = chosen_device(device)
        dtype = dtype_for(place)
        self.device, self.dtype = place.type, str(dtype).removeprefix("torch.")
        budget = Budget.of(place, gpu_memory_gb, memory_gb, low_memory)
        workshop = None if exact else Workshop(place, compiled)
        self.store = ModelStore(place, dtype, budget, changed, workshop)
        self.stopwatch = Stopwatch(place, workshop.kept if workshop else int)
        self._adapters = AdapterCache()
        self._batcher = Batcher(self.stopwatch, exact, self.store.make_room)
        self._loop = Loop(self._answers)
        self._arrived: list[Job] = []
        self._running = 0

    def submit(self, work: Work, control: Control, say: Callable[[Happening], None]) -> Future[None]:
        """Runs a job. The last event that it says is Finished or Cancelled; the future tells when it has ended.

        Events come from the engine's thread. What `say` raises ends the job. The future raises BadLatents, OutOfMemory,
        ModelBroken, UnusableModel for an adapter that does not fit, InvalidRequest for a prompt that is too long, and
        whatever the pipeline raises.
        """

        def run() -> None:
            try:
                say(self._finished(work, control, say))
            except Stopped:
                say(Cancelled())

        return self._arrive(work.model, run, control)

    def generate(self, work: Work, control: Control) -> Generator[Happening]:
        """Runs a job, and yields what it says. Closing the generator cancels the run."""
        return streamed(lambda say: self.submit(work, control, say))

    def cancel(self, control: Control) -> None:
        """Ends a job at its next step, or where it waits."""
        control.cancelled.set()
        self._loop.post(self._admit)

    def warm(self, model: ModelSource) -> None:
        """Brings a model to the device. Raises ModelBroken and OutOfMemory."""

        def run() -> None:
            with in_memory(), self.store.using(model):
                pass

        self._arrive(model, run, Control(threading.Event(), threading.Event())).result()

    def release(self, model_id: str) -> None:
        self._loop.call(lambda: self.store.release(model_id)).result()

    def _arrive(self, model: ModelSource, run: Callable[[], None], control: Control) -> Future[None]:
        ended: Future[None] = Future()

        def whole() -> None:
            try:
                settle(ended, run)
            finally:
                self._running -= 1
                self._loop.post(self._admit)

        def arrive() -> None:
            self._arrived.append(Job(model, whole, control))
            self._admit()

        self._loop.post(arrive)
        return ended

    def _admit(self) -> None:
        """Those that arrived begin, in their order, as far as there is room. Those that are cancelled end."""
        for job in [job for job in self._arrived if job.control.cancelled.is_set()]:
            self._begin(job)
        while self._arrived and self.store.has_room(self._arrived[0].model):
            self._begin(self._arrived[0])

    def _begin(self, job: Job) -> None:
        self._arrived.remove(job)
        if not self._running:
            self.stopwatch.begin()
        self._running += 1
        self._loop.start(job.run, job)

    def _answers(self, asked: Sequence[Asked]) -> Iterator[Answer]:
        stopped = [fibre for fibre, _ in asked if fibre.carrying.control.cancelled.is_set()]
        yield from (Answer(fibre, error=Stopped()) for fibre in stopped)
        yield from self._batcher.answers([(fibre, call) for fibre, call in asked if fibre not in stopped])

    def _finished(self, work: Work, control: Control, say: Callable[[Happening], None]) -> Finished:
        if control.cancelled.is_set():
            raise Stopped
        began = time.monotonic()
        images = self._images(work, control, say)
        return Finished(
            images=images,
            receipts=[
                self._receipt(work, prompt, seed)
                for prompt, seed in zip(work.request.prompts, seeds(work.request), strict=True)
            ],
            latency_ms=round((time.monotonic() - began) * 1000),
            vram_peak_mb=self.stopwatch.peak_mb(),
        )

    def _images(self, work: Work, control: Control, say: Callable[[Happening], None]) -> list[Image.Image]:
        with (
            in_memory(),
            self.store.using(work.model, loading=lambda: say(Loading(model=work.model.name))) as held,
        ):
            if control.cancelled.is_set():
                raise Stopped
            if work.request.step_cache and held.shared is None:
                raise InvalidRequest("step_cache", "cannot be used with a model that shares a small GPU (low_memory)")
            dressed = self._adapters.dressed(work.adapters, held)
            pipeline = self._pipeline(work, held, dressed)
            try:
                output = pipeline(
                    callback_on_step_end=Steps(control, view(held, work.request), say, this_job().cache.step),
                    **prompt_arguments(held, work.request, dressed),
                    **arguments(work.request, pipeline, held.family, work.init_image),
                )
                return pictures(output.images, pipeline.num_timesteps)
            finally:
                held.pipeline.maybe_free_model_hooks()

    def _pipeline(self, work: Work, held: Held, dressed: Dressed) -> Pipeline:
        """Dressed, and about to hear the prompt."""
        assert work.request.sampler is not None
        held.encoders_wardrobe.wear(dressed.encoders)
        if held.shared is not None:
            this_job().outfit = dressed.denoiser
            this_job().cache = StepCache(work.request.step_cache)
        else:
            held.wardrobe.wear(dressed.denoiser)
        if held.aside is not None:
            held.aside.encode()
        return pipeline_for(held, work.request.sampler, work.init_image is not None, dressed.encoders.key)

    def _receipt(self, work: Work, prompt: str, seed: int) -> Receipt:
        loras = {adapter.id: adapter for adapter in work.adapters if adapter.kind == "lora"}
        embeddings = [adapter for adapter in work.adapters if adapter.kind == "embedding"]
        return Receipt(
            **work.request.model_dump(exclude=NOT_OF_ONE),
            prompt=prompt,
            seed=seed,
            model_id=work.model.id,
            model_revision=work.model.revision,
            quantization=work.model.quantization,
            loras=tuple(
                UsedLora(lora=name, weight=adapter.weight, sha256=adapter.sha256) for name, adapter in loras.items()
            ),
            embeddings=tuple(UsedEmbedding(embedding=each.id, sha256=each.sha256) for each in embeddings),
            device=self.device,
            dtype=self.dtype,
            versions=VERSIONS,
        )


def this_job() -> Job:
    """The one that runs."""
    running = current()
    assert running is not None and isinstance(running.carrying, Job)
    return running.carrying


def view(held: Held, request: GenerationRequest) -> View:
    """How the latents of this run become colours. Rows of patches are as many as the picture has, at two by two."""
    assert held.projection is not None
    assert request.height is not None
    rows = request.height // (compression(held.pipeline) * 2)
    bring = UNPACKED[held.family.latents]
    return View(held.projection, lambda latents: bring(latents, rows))
