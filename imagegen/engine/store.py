"""The models in memory: brought to the device when they are asked for, and sent away when others need the room.

Those that were used least recently leave first: the device for main memory, main memory for the disk. A model that is
in use never leaves, and a model that does not fit beside those in use waits for them.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import torch

from imagegen.engine.clip import PromptEncoder, encoder_for
from imagegen.engine.fibres import elsewhere, waited
from imagegen.engine.fitting import fitted
from imagegen.engine.loading import Pipeline, load_pipeline, sharing
from imagegen.engine.memory import (
    SMALL,
    Mode,
    at_once,
    chosen_mode,
    expected_size,
    give_back,
    gpu_budget,
    memory_budget,
    place,
    save_decoding,
    sizes_of,
)
from imagegen.engine.previews import Projection, projection_for
from imagegen.engine.quantization import stored_in_fp8
from imagegen.engine.remembering import Remembered, remembering
from imagegen.engine.samplers import scheduler_for
from imagegen.engine.shared import share_networks
from imagegen.engine.wearing import Tailor, Wardrobe
from imagegen.errors import ModelTooLarge
from imagegen.info import ModelSource
from imagegen.library.families import FAMILIES, Family
from imagegen.schema import SamplerName

logger = logging.getLogger(__name__)

# Prompts that a model remembers what its text encoders said of, where the pipeline asks them itself: 4 MB each or so.
PROMPTS = 16


@dataclass
class Held:
    """A model in memory. `encoder` is None where the pipeline hears prompts by itself.

    `size` is in bytes, `device_size` how many of them are on the device at once when it is there. `shared` are the
    networks that its users ask together; a model that is not wholly on the device has one user at a time.
    """

    source: ModelSource
    family: Family
    pipeline: Pipeline
    tailor: Any
    wardrobe: Any
    encoders_wardrobe: Any
    encoder: PromptEncoder | None
    size: int
    device_size: int
    mode: Mode
    schedulers: dict[SamplerName, Any] = field(default_factory=dict)
    said: Remembered[Any] = field(default_factory=lambda: Remembered(PROMPTS))
    runs: dict[bool, Pipeline] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)
    projection: Projection | None = None
    aside: Any = None
    on_device: bool = False
    users: int = 0


@dataclass(frozen=True)
class Budget:
    """Bytes that models may take on the device and in main memory; on a CPU these are the same.

    One alone may take `most` of main memory.
    """

    device: float
    memory: float
    low_memory: str = "auto"
    most: float = math.inf

    @classmethod
    def of(cls, device: torch.device, gpu_memory_gb: float | None, memory_gb: float | None, low_memory: str) -> Budget:
        memory = memory_budget(memory_gb)
        on_device = gpu_budget(device, gpu_memory_gb) if device.type == "cuda" else memory
        return cls(on_device, memory, low_memory, memory_budget(memory_gb, share=0.95))


class ModelStore:
    """Used by one thread. While a fibre there waits for a model, others may use those that are there."""

    def __init__(
        self, device: torch.device, dtype: torch.dtype, budget: Budget, changed: Callable[[], None] = lambda: None
    ) -> None:
        self.device, self.dtype, self.budget, self.changed = device, dtype, budget, changed
        # The one used last is at the end.
        self.held: dict[str, Held] = {}
        # On their way from the disk, and how large they will be.
        self._coming: dict[ModelSource, tuple[Future[Pipeline], int]] = {}
        self._disk = Lock()

    def has_room(self, source: ModelSource) -> bool:
        """Whether it can be used now, beside those in use."""
        in_use = [held for held in self.held.values() if held.users]
        if any(held.mode != "off" for held in in_use):
            return False
        held = self.held.get(source.id)
        if source in self._coming or not (in_use or self._coming):
            return True
        if held is not None and (held.users or held.mode != "off"):
            return held.users > 0
        size = held.device_size if held is not None else expected_size(source, self.dtype)
        others = sum(held.device_size for held in in_use) + sum(coming for _, coming in self._coming.values())
        return others + size <= (self.budget.device if self.separate else self.budget.memory)

    @contextmanager
    def using(self, source: ModelSource, loading: Callable[[], None] = lambda: None) -> Iterator[Held]:
        """The model on the device, which it does not leave meanwhile. `loading` is called when this takes a while.

        Raises ModelBroken, ModelTooLarge and PackageMissing.
        """
        held = self.held.get(source.id)
        if held is not None and held.source != source:
            self.release(source.id)
            held = None
        if held is None or not held.on_device:
            loading()
        if held is None:
            pipeline = self._read(source)
            held = self.held.get(source.id)  # Somebody else may have waited for the same.
            held = self._ready(source, pipeline) if held is None or held.source != source else held
        self.held.pop(source.id, None)
        self.held[source.id] = held
        held.users += 1
        try:
            self._make_room_in_memory(0)  # Now that its size is known.
            self._bring(held)
            yield held
        finally:
            held.users -= 1

    def release(self, model_id: str) -> None:
        """Forgets a model, unless it is in use."""
        held = self.held.get(model_id)
        if held is not None and not held.users:
            self._forget(held)
            self.changed()

    def memory(self) -> dict[str, int]:
        """Bytes of models, by where they are."""
        if not self.separate:
            return {self.device.type: self._in_memory()}
        return {self.device.type: self._on_device(), "memory": self._in_memory()}

    @property
    def separate(self) -> bool:
        """Whether the device has memory of its own."""
        return self.device.type == "cuda"

    def _on_device(self) -> int:
        return sum(held.device_size for held in self.held.values() if held.on_device)

    def _in_memory(self) -> int:
        """Everything that is not wholly on a device with memory of its own."""
        away = (held for held in self.held.values() if self.separate and held.on_device and held.mode == "off")
        coming = sum(size for _, size in self._coming.values())
        return coming + sum(held.size for held in self.held.values()) - sum(held.size for held in away)

    def _read(self, source: ModelSource) -> Pipeline:
        """From the disk, while others go on. Two who want the same wait for the same."""
        if source not in self._coming:
            expected = expected_size(source, self.dtype)
            if not self.separate and expected > self.budget.most:
                raise ModelTooLarge(source.name, expected, round(self.budget.most))
            self._make_room_in_memory(expected)
            self._coming[source] = elsewhere(lambda: self._loaded(source)), expected
        try:
            return waited(self._coming[source][0])
        finally:
            self._coming.pop(source, None)

    def _loaded(self, source: ModelSource) -> Pipeline:
        with self._disk:
            return load_pipeline(source, self.dtype)

    def _ready(self, source: ModelSource, pipeline: Pipeline) -> Held:
        family = FAMILIES[source.pipeline]
        if source.quantization == "fp8":
            stored_in_fp8(getattr(pipeline, family.denoiser), self.dtype)
        sizes = sizes_of(pipeline)
        mode = chosen_mode(self.budget.low_memory, sizes, self.budget.device) if self.separate else "off"
        encoder = encoder_for(pipeline) if family.prompts != "pipeline" else None
        size, device_size = sum(sizes.values()), at_once(sizes, mode)
        wardrobes = Wardrobe(), Wardrobe()
        held = Held(source, family, pipeline, Tailor(pipeline), *wardrobes, encoder, size, device_size, mode)
        facts = {"model": source.id, "bytes": held.size, "mode": mode}
        logger.info("Model loaded", extra={"action": "model_loaded", **facts})
        return held

    def _bring(self, held: Held) -> None:
        """What fails halfway is forgotten: who knows where its parts are."""
        if held.on_device:
            return
        try:
            self._make_room_on_device(held)
            held.aside = place(held.pipeline, held.mode, self.device, held.family.denoiser)
            if held.mode != "off" or (self.separate and self.budget.device < SMALL):
                save_decoding(held.pipeline)
            held.projection = held.projection or self._projection(held)
            if held.mode == "off":
                held.shared = share_networks(held.pipeline, held.family.denoiser, held.wardrobe)
        except BaseException:
            self._forget(held)
            self.changed()
            raise
        held.on_device = True
        self.changed()

    def _projection(self, held: Held) -> Projection:
        folder = held.source.path if held.source.path.is_dir() else held.source.config or held.source.path
        channels = latent_channels(held.pipeline)
        return projection_for(folder, held.source.pipeline, channels) or fitted(held.pipeline)

    def _idle(self) -> list[Held]:
        """Those that may go, the one used least recently first."""
        return [held for held in self.held.values() if not held.users]

    def _make_room_on_device(self, wanted: Held) -> None:
        for held in self._idle():
            if not self.separate or self._on_device() + wanted.device_size <= self.budget.device:
                return
            if held.on_device:
                self._leave_device(held)

    def _make_room_in_memory(self, size: int) -> None:
        for held in self._idle():
            if self._in_memory() + size <= self.budget.memory:
                return
            if not (self.separate and held.on_device and held.mode == "off"):
                self._forget(held)

    def _leave_device(self, held: Held) -> None:
        """For main memory, where there is room. Hooks that move parts do not come off without a trace."""
        if held.mode != "off" or held.source.quantization is not None or held.size > self.budget.memory:
            self._forget(held)
            return
        held.runs = {}
        held.wardrobe.empty()
        held.encoders_wardrobe.empty()
        held.said.forget()
        if held.encoder is not None:
            held.encoder.forget()
        self._make_room_in_memory(held.size)
        held.pipeline.to("cpu", silence_dtype_warnings=True)
        held.on_device = False
        give_back()

    def _forget(self, held: Held) -> None:
        """Whoever still has it in hand has nothing of it."""
        self.held.pop(held.source.id, None)
        if held.mode == "offload":
            held.pipeline.remove_all_hooks()
        held.pipeline = held.tailor = held.wardrobe = held.encoders_wardrobe = held.encoder = held.aside = None
        held.runs, held.shared = {}, {}
        held.said.forget()
        held.on_device = False
        give_back()
        logger.info("Model unloaded", extra={"action": "model_unloaded", "model": held.source.id})


def pipeline_for(held: Held, sampler: SamplerName, from_image: bool, worn: Hashable = ()) -> Pipeline:
    """A pipeline for one run: with a scheduler of its own, and with the networks of all. Costs little.

    `worn` tells apart what the text encoders wear.
    """
    if from_image not in held.runs:
        held.runs[from_image] = sharing(held.pipeline, from_image)
        if held.shared:
            settle_down(held.runs[from_image])
    if sampler not in held.schedulers:
        held.schedulers[sampler] = scheduler_for(sampler, held.pipeline.scheduler.config)
    pipeline = copy.copy(held.runs[from_image])
    scheduler = copy.copy(held.schedulers[sampler])  # A run begins by giving it lists of its own.
    # Not by setting attributes: then the pipeline writes its configuration anew.
    encode = remembering(pipeline.encode_prompt, held.said, worn)
    pipeline.__dict__ |= {"scheduler": scheduler, "encode_prompt": encode, **held.shared}
    return pipeline


def settle_down(pipeline: Pipeline) -> None:
    """It stays where it is. Other pipelines look at all their layers to find out where that is, again and again."""
    kind, device = type(pipeline), next(pipeline.vae.parameters()).device
    pipeline.__class__ = type(kind.__name__, (kind,), {"_execution_device": device})


def latent_channels(pipeline: Pipeline) -> int:
    config = pipeline.vae.config
    return int(config.get("latent_channels") or config.get("z_dim"))
