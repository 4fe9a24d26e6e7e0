"""The engine: a request in, events out."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import diffusers
import torch
import transformers
from PIL import Image

from imagegen.engine.adapters import AdapterCache
from imagegen.engine.devices import chosen_device, dtype_for
from imagegen.engine.fitting import compression
from imagegen.engine.layout import UNPACKED
from imagegen.engine.loading import sharing
from imagegen.engine.prompting import prompt_arguments
from imagegen.engine.run import Control, Steps, Stopped, View, arguments, pictures, seeds
from imagegen.engine.samplers import scheduler_for
from imagegen.engine.store import Budget, Held, ModelStore
from imagegen.engine.stream import streamed
from imagegen.errors import OutOfMemory
from imagegen.info import AdapterSource, ModelSource
from imagegen.schema import Cancelled, GenerationRequest, Loading, Progress, Receipt, UsedEmbedding, UsedLora

__all__ = ["Control", "Engine", "Finished", "Work"]

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


class Engine:
    """One device, and the models that it holds. Raises WorkerUnavailable when the device is missing.

    Everything is computed in one thread that is kept: each thread that computes costs OpenMP a pool of its own.
    """

    def __init__(
        self,
        device: str = "auto",
        gpu_memory_gb: float | None = None,
        memory_gb: float | None = None,
        low_memory: str = "auto",
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        place = chosen_device(device)
        dtype = dtype_for(place)
        self.device, self.dtype = place.type, str(dtype).removeprefix("torch.")
        self.store = ModelStore(place, dtype, Budget.of(place, gpu_memory_gb, memory_gb, low_memory), changed)
        self._adapters = AdapterCache()
        self._thread = ThreadPoolExecutor(1, "engine")

    def generate(self, work: Work, control: Control) -> Generator[Happening]:
        """Runs a job. The last event is Finished or Cancelled.

        Raises BadLatents, OutOfMemory, ModelBroken, UnusableModel for an adapter that does not fit, InvalidRequest for
        a prompt that is too long, and whatever the pipeline raises. Closing the generator cancels the run.
        """

        def run(say: Callable[[Happening], None]) -> None:
            try:
                say(self._finished(work, control, say))
            except Stopped:
                say(Cancelled())

        return streamed(run, self._thread)

    def warm(self, model: ModelSource) -> None:
        """Brings a model to the device. Raises ModelBroken and OutOfMemory."""
        self._thread.submit(self._warm, model).result()

    def release(self, model_id: str) -> None:
        self._thread.submit(self.store.release, model_id).result()

    def _warm(self, model: ModelSource) -> None:
        with in_memory(), self.store.using(model):
            pass

    def _finished(self, work: Work, control: Control, say: Callable[[Happening], None]) -> Finished:
        began = time.monotonic()
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        images = self._images(work, control, say)
        return Finished(
            images=images,
            receipts=[self._receipt(work, seed) for seed in seeds(work.request)],
            latency_ms=round((time.monotonic() - began) * 1000),
            vram_peak_mb=torch.cuda.max_memory_allocated() / 2**20 if self.device == "cuda" else None,
        )

    def _images(self, work: Work, control: Control, say: Callable[[Happening], None]) -> list[Image.Image]:
        with (
            in_memory(),
            self.store.using(work.model, loading=lambda: say(Loading(model=work.model.name))) as held,
            self._adapters.worn(work.adapters, held) as inversions,
        ):
            if control.cancelled.is_set():
                raise Stopped
            assert work.request.sampler is not None
            scheduler = scheduler_for(work.request.sampler, held.pipeline.scheduler.config)
            pipeline = sharing(held.pipeline, scheduler, from_image=work.init_image is not None)
            if held.aside is not None:
                held.aside.encode()
            try:
                output = pipeline(
                    callback_on_step_end=Steps(control, view(held, work.request), say),
                    **prompt_arguments(held, work.request, inversions),
                    **arguments(work.request, pipeline, held.family, work.init_image),
                )
                return pictures(output.images, pipeline.num_timesteps)
            finally:
                held.pipeline.maybe_free_model_hooks()

    def _receipt(self, work: Work, seed: int) -> Receipt:
        loras = {adapter.id: adapter for adapter in work.adapters if adapter.kind == "lora"}
        embeddings = [adapter for adapter in work.adapters if adapter.kind == "embedding"]
        return Receipt(
            **work.request.model_dump(exclude={"seed", "batch_size", "model", "loras", "embeddings"}),
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


def view(held: Held, request: GenerationRequest) -> View:
    """How the latents of this run become colours. Rows of patches are as many as the picture has, at two by two."""
    assert held.projection is not None
    assert request.height is not None
    rows = request.height // (compression(held.pipeline) * 2)
    bring = UNPACKED[held.family.latents]
    return View(held.projection, lambda latents: bring(latents, rows))


@contextmanager
def in_memory() -> Iterator[None]:
    """Raises OutOfMemory for what torch says of it, and keeps no frame alive that still holds the memory."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        raise OutOfMemory from None


def is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA has an error of its own for it; a CPU and MPS say it in words."""
    words = ("can't allocate memory", "out of memory")
    return isinstance(error, torch.OutOfMemoryError) or any(part in str(error) for part in words)
