"""The models in memory: brought to the device when they are asked for, and sent away when others need the room.

Those that were used least recently leave first: the device for main memory, main memory for the disk. A model that is
in use never leaves, and a model that does not fit beside those in use waits for them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor

from imagegen.engine.clip import encoder_for
from imagegen.engine.fibres import elsewhere, waited
from imagegen.engine.fitting import fitted
from imagegen.engine.held import Held
from imagegen.engine.loading import Pipeline, load_pipeline
from imagegen.engine.memory import (
    SMALL,
    at_once,
    chosen_mode,
    expected_size,
    give_back,
    gpu_budget,
    is_out_of_memory,
    memory_budget,
    networks_of,
    place,
    save_decoding,
    sizes_of,
)
from imagegen.engine.previews import Projection, latent_channels, projection_for
from imagegen.engine.quantization import stored_in_fp8
from imagegen.engine.quick import Workshop
from imagegen.engine.shared import Shared, share_networks
from imagegen.engine.tuning import in_its_precision, tuned
from imagegen.engine.wearing import Tailor, Wardrobe
from imagegen.engine.weights import Signature, Weights, bytes_of, pin
from imagegen.errors import ModelTooLarge
from imagegen.info import ModelSource
from imagegen.library.families import FAMILIES

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Budget:
    """Bytes that models may take on the device and in main memory; on a CPU these are the same.

    One alone may take `most` of main memory.
    """

    device: float
    memory: float
    low_memory: str = "auto"
    most: float = math.inf
    separate: bool = False

    @classmethod
    def of(cls, device: torch.device, gpu_memory_gb: float | None, memory_gb: float | None, low_memory: str) -> Budget:
        memory = memory_budget(memory_gb)
        on_device = gpu_budget(device, gpu_memory_gb) if device.type == "cuda" else memory
        return cls(on_device, memory, low_memory, memory_budget(memory_gb, share=0.95), device.type == "cuda")


@dataclass(frozen=True)
class Place:
    """What a model leaves on the device: tensors, and networks that are quick with them."""

    signature: Signature
    tensors: list[Tensor]
    shared: Shared


class ModelStore:
    """Used by one thread. While a fibre there waits for a model, others may use those that are there."""

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype,
        budget: Budget,
        changed: Callable[[], None] = lambda: None,
        workshop: Workshop | None = None,
    ) -> None:
        self.workshop = workshop
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

    def make_room(self) -> bool:
        """Forgets what was made quick, whose memory is not counted. Whether there was any."""
        forgotten = [held.shared.forget() for held in self.held.values() if held.shared is not None]
        give_back()
        return any(forgotten)

    def memory(self) -> dict[str, int]:
        """Bytes of models, by where they are."""
        if not self.separate:
            return {self.device.type: self._in_memory()}
        return {self.device.type: self._on_device(), "memory": self._in_memory()}

    @property
    def separate(self) -> bool:
        """Whether the device has memory of its own."""
        return self.budget.separate

    def _on_device(self) -> int:
        return sum(held.device_size for held in self.held.values() if held.on_device)

    def _in_memory(self) -> int:
        """Everything that is not wholly on a device with memory of its own."""
        coming = sum(size for _, size in self._coming.values())
        return coming + sum(held.size for held in self.held.values() if not self._is_away(held))

    def _is_away(self, held: Held) -> bool:
        return self.separate and held.on_device and held.mode == "off" and held.weights is None

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
            pipeline = tuned(load_pipeline(source, self.dtype), source)
        if self.device.type == "cuda" and bytes_of(networks_of(pipeline), pinned=True) <= self.budget.memory:
            pin(networks_of(pipeline))
        return pipeline

    def _ready(self, source: ModelSource, pipeline: Pipeline) -> Held:
        family = FAMILIES[source.pipeline]
        if source.quantization == "fp8":
            stored_in_fp8(getattr(pipeline, family.denoiser), self.dtype)
        sizes = sizes_of(pipeline)
        mode = chosen_mode(self.budget.low_memory, sizes, self.budget.device) if self.separate else "off"
        encoder = encoder_for(pipeline) if family.prompts != "pipeline" else None
        size, device_size = bytes_of(networks_of(pipeline)), at_once(sizes, mode)
        wardrobes = Wardrobe(), Wardrobe()
        held = Held(source, family, pipeline, Tailor(pipeline), *wardrobes, encoder, size, device_size, mode)
        if mode == "off":
            in_its_precision(pipeline)
        if self.separate and mode == "off" and source.quantization is None and size <= self.budget.memory:
            held.weights = Weights(networks_of(pipeline))
        facts = {"model": source.id, "bytes": held.size, "mode": mode}
        logger.info("Model loaded", extra={"action": "model_loaded", **facts})
        return held

    def _bring(self, held: Held) -> None:
        """What fails halfway is forgotten: who knows where its parts are."""
        if held.on_device:
            return
        try:
            taken = self._make_room_on_device(held)
            try:
                self._place(held, taken)
            except RuntimeError as error:
                if held.mode != "off" or not is_out_of_memory(error) or not self.make_room():
                    raise
                self._place(held, taken)
            if held.mode != "off" or (self.separate and self.budget.device < SMALL):
                save_decoding(held.pipeline)
            held.projection = held.projection or self._projection(held)
            if held.mode == "off":
                # Weights that are stored small are unpacked anew in each pass, elsewhere each time.
                workshop = self.workshop if held.source.quantization is None else None
                held.shared = share_networks(held.pipeline, held.family.denoiser, held.wardrobe, workshop)
            if taken is not None and held.shared is not None:
                held.shared.take_over(taken.shared)
        except BaseException:
            self._forget(held)
            self.changed()
            raise
        held.on_device = True
        self.changed()

    def _place(self, held: Held, taken: Place | None) -> None:
        if held.weights is not None:
            held.weights.lend(self.device, taken.tensors if taken is not None else None)
        else:
            held.aside = place(held.pipeline, held.mode, self.device, held.family.denoiser)

    def _projection(self, held: Held) -> Projection:
        folder = held.source.path if held.source.path.is_dir() else held.source.config or held.source.path
        channels = latent_channels(held.pipeline.vae)
        return projection_for(folder, held.source.pipeline, channels) or fitted(held.pipeline)

    def _idle(self) -> list[Held]:
        """Those that may go, the one used least recently first."""
        return [held for held in self.held.values() if not held.users]

    def _make_room_on_device(self, wanted: Held) -> Place | None:
        """The place of a model of the same architecture, if one has to leave."""
        for held in self._idle():
            if not self.separate or self._on_device() + wanted.device_size <= self.budget.device:
                return None
            if held.on_device and (place := self._leave_device(held)) is not None:
                if wanted.weights is not None and place.signature == wanted.weights.signature:
                    return place
                del place
                give_back()
        return None

    def _make_room_in_memory(self, size: int) -> None:
        for held in self._idle():
            if self._in_memory() + size <= self.budget.memory:
                return
            if held.weights is not None and held.on_device:
                held.weights = None  # It is on the device, and will have to be read anew.
            elif not self._is_away(held):
                self._forget(held)

    def _leave_device(self, held: Held) -> Place | None:
        """For main memory, where its weights are at home."""
        if held.weights is None:
            self._forget(held)
            return None
        held.undress()
        assert held.shared is not None
        left = Place(held.weights.signature, held.weights.take_home(), held.shared)
        held.shared, held.on_device = None, False
        return left

    def _forget(self, held: Held) -> None:
        self.held.pop(held.source.id, None)
        held.let_go()
        give_back()
        logger.info("Model unloaded", extra={"action": "model_unloaded", "model": held.source.id})
