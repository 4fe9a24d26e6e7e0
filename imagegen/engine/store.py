"""The models in memory: brought to the device when they are asked for, and sent away when others need the room.

Those that were used least recently leave first: the device for main memory, main memory for the disk. A model that is
in use never leaves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from imagegen.engine.clip import PromptEncoder, encoder_for
from imagegen.engine.fitting import fitted
from imagegen.engine.loading import Pipeline, known_oddities, load_pipeline
from imagegen.engine.memory import (
    SMALL,
    Mode,
    chosen_mode,
    give_back,
    gpu_budget,
    memory_budget,
    place,
    save_decoding,
    sizes_of,
)
from imagegen.engine.previews import Projection, projection_for
from imagegen.engine.quantization import stored_in_fp8
from imagegen.engine.wearing import Wardrobe
from imagegen.info import ModelSource
from imagegen.library.families import FAMILIES, Family

logger = logging.getLogger(__name__)


@dataclass
class Held:
    """A model in memory. `encoder` is None where the pipeline hears prompts by itself."""

    source: ModelSource
    family: Family
    pipeline: Pipeline
    wardrobe: Wardrobe
    encoder: PromptEncoder | None
    size: int
    mode: Mode
    projection: Projection | None = None
    aside: Any = None
    on_device: bool = False
    users: int = 0


@dataclass(frozen=True)
class Budget:
    """Bytes that models may take on the device and in main memory; on a CPU these are the same."""

    device: float
    memory: float
    low_memory: str

    @classmethod
    def of(cls, device: torch.device, gpu_memory_gb: float | None, memory_gb: float | None, low_memory: str) -> Budget:
        memory = memory_budget(memory_gb)
        return cls(gpu_budget(device, gpu_memory_gb) if device.type == "cuda" else memory, memory, low_memory)


class ModelStore:
    """Used by one thread at a time."""

    def __init__(
        self, device: torch.device, dtype: torch.dtype, budget: Budget, changed: Callable[[], None] = lambda: None
    ) -> None:
        self.device, self.dtype, self.budget, self.changed = device, dtype, budget, changed
        # The one used last is at the end.
        self.held: dict[str, Held] = {}

    @contextmanager
    def using(self, source: ModelSource, loading: Callable[[], None] = lambda: None) -> Iterator[Held]:
        """The model on the device, which it does not leave meanwhile. `loading` is called when this takes a while.

        Raises ModelBroken and PackageMissing.
        """
        held = self.held.get(source.id)
        if held is not None and held.source != source:
            self.release(source.id)
            held = None
        if held is None or not held.on_device:
            loading()
        held = self._loaded(source) if held is None else held
        self.held[source.id] = self.held.pop(source.id, held)
        held.users += 1
        try:
            self._bring(held)
            yield held
        finally:
            held.users -= 1

    def release(self, model_id: str) -> None:
        """Forgets a model, unless it is in use."""
        held = self.held.get(model_id)
        if held is not None and not held.users:
            self._forget(model_id)
            self.changed()

    def memory(self) -> dict[str, int]:
        """Bytes of models, by where they are."""
        on_device = sum(held.size for held in self.held.values() if held.on_device)
        rest = sum(held.size for held in self.held.values() if not held.on_device)
        return {self.device.type: on_device} | ({"memory": rest} if self.device.type == "cuda" else {})

    def _loaded(self, source: ModelSource) -> Held:
        pipeline = load_pipeline(source, self.dtype)
        family, sizes = FAMILIES[source.pipeline], sizes_of(pipeline)
        if source.quantization == "fp8":
            stored_in_fp8(getattr(pipeline, family.denoiser), self.dtype)
            sizes = sizes_of(pipeline)
        encoder = encoder_for(pipeline) if family.prompts != "pipeline" else None
        mode: Mode = "off"
        if self.device.type == "cuda":
            mode = chosen_mode(self.budget.low_memory, sizes, self.budget.device)
        held = Held(source, family, pipeline, Wardrobe(pipeline), encoder, sum(sizes.values()), mode)
        self._make_room_in_memory(held)
        logger.info(
            "Model loaded", extra={"action": "model_loaded", "model": source.id, "bytes": held.size, "mode": mode}
        )
        return held

    def _bring(self, held: Held) -> None:
        if held.on_device:
            return
        self._make_room_on_device(held)
        held.aside = place(held.pipeline, held.mode, self.device, held.family.denoiser)
        if held.mode != "off" or (self.budget.device < SMALL and self.device.type == "cuda"):
            save_decoding(held.pipeline)
        held.on_device = True
        if held.projection is None:
            held.projection = self._projection(held)
        self.changed()

    def _projection(self, held: Held) -> Projection:
        folder = held.source.path if held.source.path.is_dir() else held.source.config or held.source.path
        channels = latent_channels(held.pipeline)
        return projection_for(folder, held.source.pipeline, channels) or fitted(held.pipeline)

    def _make_room_on_device(self, wanted: Held) -> None:
        if self.device.type != "cuda":
            return
        for held in list(self.held.values()):
            used = sum(other.size for other in self.held.values() if other.on_device)
            if used + wanted.size <= self.budget.device:
                return
            if held.on_device and not held.users and held is not wanted:
                self._leave_device(held)

    def _make_room_in_memory(self, wanted: Held) -> None:
        """On a CPU everything is in main memory; beside a GPU, what is not on it."""
        for held in list(self.held.values()):
            used = sum(o.size for o in self.held.values() if not o.on_device or self.device.type != "cuda")
            if used + wanted.size <= self.budget.memory:
                return
            if not held.users and held is not wanted and (self.device.type != "cuda" or not held.on_device):
                self._forget(held.source.id)

    def _leave_device(self, held: Held) -> None:
        """A model whose parts are moved by hooks is loaded anew: they do not come off without a trace."""
        if held.mode != "off" or held.source.quantization is not None:
            self._forget(held.source.id)
            return
        held.wardrobe.take_off()
        self._make_room_in_memory(held)
        with known_oddities():
            held.pipeline.to("cpu", silence_dtype_warnings=True)
        held.on_device = False
        give_back()

    def _forget(self, model_id: str) -> None:
        del self.held[model_id]
        give_back()
        logger.info("Model unloaded", extra={"action": "model_unloaded", "model": model_id})


def latent_channels(pipeline: Pipeline) -> int:
    config = pipeline.vae.config
    return int(config.get("latent_channels") or config.get("z_dim"))
