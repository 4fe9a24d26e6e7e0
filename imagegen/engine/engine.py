"""The engine: a request in, events out."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import diffusers
import torch
import transformers
from PIL import Image

from imagegen.engine.devices import chosen_device, dtype_for
from imagegen.engine.models import load_pipeline, sharing
from imagegen.engine.previews import projection_for
from imagegen.engine.prompts import PromptEncoder
from imagegen.engine.run import Control, Steps, Stopped, arguments, pictures, seeds
from imagegen.engine.samplers import scheduler_for
from imagegen.engine.stream import streamed
from imagegen.errors import OutOfMemory
from imagegen.schema import Cancelled, GenerationRequest, ModelInfo, Progress, Receipt

__all__ = ["Control", "Engine", "Finished"]

VERSIONS = {module.__name__: module.__version__ for module in (torch, diffusers, transformers)}


@dataclass(frozen=True)
class Finished:
    """Pictures, and a receipt for each. `vram_peak_mb` is None without a CUDA device."""

    images: list[Image.Image]
    receipts: list[Receipt]
    latency_ms: int
    vram_peak_mb: float | None


Happening = Progress | Cancelled | Finished


class Engine:
    """One model on one device. Loading takes seconds; raises WorkerUnavailable when device or model are missing."""

    def __init__(self, model: ModelInfo, folder: Path, device: str = "auto") -> None:
        place = chosen_device(device)
        dtype = dtype_for(place)
        self.model, self.device, self.dtype = model, place.type, str(dtype).removeprefix("torch.")
        self._pipeline = load_pipeline(folder, place, dtype)
        self._prompts = PromptEncoder(self._pipeline.tokenizer, self._pipeline.text_encoder)
        self._projection = projection_for(folder, type(self._pipeline).__name__)

    def generate(
        self, request: GenerationRequest, init_image: Image.Image | None, control: Control
    ) -> Generator[Happening]:
        """Runs a request that leaves nothing open. The last event is Finished or Cancelled.

        Raises BadLatents, OutOfMemory, and whatever the pipeline raises. Closing the generator cancels the run.
        """

        def work(say: Callable[[Happening], None]) -> None:
            try:
                say(self._finished(request, init_image, control, say))
            except Stopped:
                say(Cancelled())

        return streamed(work)

    def _finished(
        self,
        request: GenerationRequest,
        init_image: Image.Image | None,
        control: Control,
        say: Callable[[Progress], None],
    ) -> Finished:
        began = time.monotonic()
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        images = self._images(request, init_image, Steps(control, self._projection, say))
        return Finished(
            images=images,
            receipts=[self._receipt(request, seed) for seed in seeds(request)],
            latency_ms=round((time.monotonic() - began) * 1000),
            vram_peak_mb=torch.cuda.max_memory_allocated() / 2**20 if self.device == "cuda" else None,
        )

    def _images(self, request: GenerationRequest, init_image: Image.Image | None, steps: Steps) -> list[Image.Image]:
        assert request.sampler is not None
        scheduler = scheduler_for(request.sampler, self._pipeline.scheduler.config)
        pipeline = sharing(self._pipeline, scheduler, from_image=init_image is not None)
        try:
            positive, negative = self._prompts.encode(request.prompt, request.negative_prompt, request.clip_skip)
            output = pipeline(
                prompt_embeds=positive,
                negative_prompt_embeds=negative,
                callback_on_step_end=steps,
                **arguments(request, init_image, scheduler.config.num_train_timesteps),
            )
            return pictures(output.images, pipeline.num_timesteps)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        finally:
            pipeline.maybe_free_model_hooks()
        # Raised here, without the failed call behind it: its frames would keep the memory.
        raise OutOfMemory

    def _receipt(self, request: GenerationRequest, seed: int) -> Receipt:
        return Receipt(
            **request.model_dump(exclude={"seed", "batch_size"}),
            seed=seed,
            model_id=self.model.id,
            device=self.device,
            dtype=self.dtype,
            versions=VERSIONS,
        )


def is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA has an error of its own for it; a CPU and MPS say it in words."""
    words = ("can't allocate memory", "out of memory")
    return isinstance(error, torch.OutOfMemoryError) or any(part in str(error) for part in words)
