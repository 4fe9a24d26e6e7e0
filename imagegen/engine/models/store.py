"""The models in memory: they are brought to the device for a job, and leave when another model needs the room.

The model that was used least recently leaves first: the device for main memory, and main memory for the disk. A model
in use never leaves, and a job whose model does not fit beside those in use waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch

from imagegen.engine.compile.accelerator import CompilePool
from imagegen.engine.job import JobInterrupted
from imagegen.engine.models.budget import MemoryBudget
from imagegen.engine.models.disk_reader import DiskReader
from imagegen.engine.models.loaded import LoadedModel
from imagegen.engine.models.measure_memory import estimate_model_bytes
from imagegen.engine.models.out_of_memory import release_unused_memory
from imagegen.engine.models.placement import DeviceBuffers, finish_placement, place_on_device, take_off_device
from imagegen.engine.models.preparation import prepare_model
from imagegen.engine.models.residency import Signature
from imagegen.engine.protocols import Pipeline
from imagegen.errors import ModelTooLarge
from imagegen.schema.models import ModelSource

logger = logging.getLogger(__name__)


class OtherNetworks(Protocol):
    """Networks that share the device with the models. Sizes are in bytes."""

    @property
    def total_bytes(self) -> int: ...

    @property
    def used_bytes(self) -> int:
        """Of those that cannot be dropped now."""

    def drop_idle(self) -> None: ...


class ModelStore:
    """Used by one thread. While a task there waits for a model to be read, others may use the models in memory.

    `others` are what is on the device besides models. `on_change` is called when models come or go.
    """

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype,
        budget: MemoryBudget,
        others: OtherNetworks,
        on_change: Callable[[], None] = lambda: None,
        compile_pool: CompilePool | None = None,
    ) -> None:
        self.device, self.dtype, self.budget, self.others = device, dtype, budget, others
        self.on_change, self.compile_pool = on_change, compile_pool
        # By id; the model used last is at the end.
        self.models: dict[str, LoadedModel] = {}
        self._reader = DiskReader()

    def can_admit(self, source: ModelSource) -> bool:
        """Returns whether a model can be used now, beside those in use."""
        in_use = [each for each in self.models.values() if each.use_count]
        if any(each.mode != "off" for each in in_use):
            return False
        model = self.models.get(source.id)
        if source in self._reader or (not in_use and self._reader.is_idle):
            return True
        if model is not None and (model.use_count or model.mode != "off"):
            return model.use_count > 0
        size = model.device_bytes if model is not None else estimate_model_bytes(source, self.dtype)
        others = sum(each.device_bytes for each in in_use) + self._reader.expected_bytes + self.others.used_bytes
        return others + size <= self._limit

    @contextmanager
    def use(
        self,
        source: ModelSource,
        on_loading: Callable[[], None] = lambda: None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[LoadedModel]:
        """Yields the model on the device, where it stays meanwhile. Calls `on_loading` if it is not there yet.

        Raises ModelLoadFailed, ModelTooLarge and PackageMissing, and JobInterrupted if it is cancelled before the model
        has been read.
        """
        model = self._find(source)
        if model is None or not model.is_on_device:
            on_loading()
        if model is None:
            self.release(source.id)  # Its files have changed.
            model = self._load(source, is_cancelled)
        self.models.pop(source.id, None)
        self.models[source.id] = model
        model.use_count += 1
        try:
            self._free_main_memory(0)  # Now that its size is known.
            self._move_to_device(model)
            yield model
        finally:
            model.use_count -= 1

    def make_room(self, name: str, size: int) -> None:
        """Makes room on the device for a network that is no model. `size` is in bytes, and `name` is for the error.

        Raises ModelTooLarge if it does not fit beside what is in use.
        """
        if self.budget.has_device_memory:
            self._free_device_memory(size)
            used = self._sum_device_bytes()
        else:
            self._free_main_memory(size)
            used = self._sum_memory_bytes()
        if used + size > self._limit:
            raise ModelTooLarge(name, used + size, round(self._limit))

    def release(self, model_id: str) -> None:
        """Removes a model from memory, unless it is in use or not there."""
        model = self.models.get(model_id)
        if model is not None and not model.use_count:
            self._unload(model)
            self.on_change()

    def release_compiled(self) -> bool:
        """Drops compiled code and CUDA graphs, whose memory no budget counts. Returns whether there were any."""
        shared = [model.shared_networks for model in self.models.values() if model.shared_networks is not None]
        cleared = [networks.clear_compiled() for networks in shared]
        release_unused_memory()
        return any(cleared)

    def measure_usage(self) -> dict[str, int]:
        """Returns the bytes of models, by where they are: the device's type, and "memory" if it is not the same."""
        if not self.budget.has_device_memory:
            return {self.device.type: self._sum_memory_bytes()}
        return {self.device.type: self._sum_device_bytes(), "memory": self._sum_memory_bytes()}

    def _sum_device_bytes(self) -> int:
        models = sum(model.device_bytes for model in self.models.values() if model.is_on_device)
        return models + self.others.total_bytes

    def _sum_memory_bytes(self) -> int:
        """Counts everything that is not wholly on a device with its own memory."""
        in_memory = [model for model in self.models.values() if not self._is_only_on_device(model)]
        others = 0 if self.budget.has_device_memory else self.others.total_bytes
        return self._reader.expected_bytes + sum(model.size_bytes for model in in_memory) + others

    @property
    def _limit(self) -> float:
        """Bytes that may be on the device."""
        return self.budget.device_bytes if self.budget.has_device_memory else self.budget.memory_bytes

    def _is_only_on_device(self, model: LoadedModel) -> bool:
        return self.budget.has_device_memory and model.is_on_device and model.mode == "off" and model.weights is None

    def _find(self, source: ModelSource) -> LoadedModel | None:
        model = self.models.get(source.id)
        return model if model is not None and model.source == source else None

    def _load(self, source: ModelSource, is_cancelled: Callable[[], bool]) -> LoadedModel:
        """Raises JobInterrupted."""
        while not is_cancelled():
            pipeline = self._read(source, is_cancelled)
            if (model := self._find(source)) is not None:  # Another task may have waited for the same read.
                return model
            if pipeline is not None and not is_cancelled():
                return self._prepare(source, pipeline)
            del pipeline
        release_unused_memory()
        raise JobInterrupted

    def _read(self, source: ModelSource, is_cancelled: Callable[[], bool]) -> Pipeline | None:
        """Reads a model from disk while other tasks go on. Returns None if the read was abandoned."""
        if source not in self._reader:
            expected = estimate_model_bytes(source, self.dtype)
            if not self.budget.has_device_memory and expected > self.budget.max_model_bytes:
                raise ModelTooLarge(source.name, expected, round(self.budget.max_model_bytes))
            self._free_main_memory(expected)
            pinned_limit = self.budget.memory_bytes if self.device.type == "cuda" else 0
            self._reader.start(source, self.dtype, expected, pinned_limit, is_cancelled)
        return self._reader.finish(source, is_cancelled)

    def _prepare(self, source: ModelSource, pipeline: Pipeline) -> LoadedModel:
        model = prepare_model(source, pipeline, self.dtype, self.budget)
        facts = {"model": source.id, "bytes": model.size_bytes, "mode": model.mode}
        logger.info("Model loaded", extra={"action": "model_loaded", **facts})
        return model

    def _move_to_device(self, model: LoadedModel) -> None:
        """Unloads the model if this fails: its parts may be in several places."""
        if model.is_on_device:
            return
        try:
            signature = model.weights.signature if model.weights is not None else None
            buffers = self._free_device_memory(model.device_bytes, signature)
            place_on_device(model, self.device, buffers, self.release_compiled)
            finish_placement(model, self.budget, self.compile_pool, buffers)
        except BaseException:
            self._unload(model)
            self.on_change()
            raise
        model.is_on_device = True
        self.on_change()

    def _list_idle(self) -> list[LoadedModel]:
        """Returns the models that may leave, the one used least recently first."""
        return [model for model in self.models.values() if not model.use_count]

    def _free_device_memory(self, size: int, signature: Signature | None = None) -> DeviceBuffers | None:
        """Makes room for `size` more bytes on the device.

        Returns the buffers of a model with `signature`, if one had to leave.
        """
        if self.budget.has_device_memory and self._sum_device_bytes() + size > self.budget.device_bytes:
            self.others.drop_idle()
        for model in self._list_idle():
            is_enough = self._sum_device_bytes() + size <= self.budget.device_bytes
            if not self.budget.has_device_memory or is_enough:
                return None
            if model.is_on_device and (buffers := self._offload(model)) is not None:
                if buffers.signature == signature:
                    return buffers
                del buffers
                release_unused_memory()
        return None

    def _free_main_memory(self, size: int) -> None:
        """Makes room for `size` more bytes in main memory."""
        if not self.budget.has_device_memory and self._sum_memory_bytes() + size > self.budget.memory_bytes:
            self.others.drop_idle()
        for model in self._list_idle():
            if self._sum_memory_bytes() + size <= self.budget.memory_bytes:
                return
            if model.weights is not None and model.is_on_device:
                model.weights = None  # It stays on the device, and will be read from disk when it is needed again.
            elif not self._is_only_on_device(model):
                self._unload(model)

    def _offload(self, model: LoadedModel) -> DeviceBuffers | None:
        """Moves a model to main memory if its weights are kept there; unloads it and returns None otherwise."""
        if model.weights is not None:
            return take_off_device(model)
        self._unload(model)
        return None

    def _unload(self, model: LoadedModel) -> None:
        self.models.pop(model.source.id, None)
        model.drop_references()
        release_unused_memory()
        logger.info("Model unloaded", extra={"action": "model_unloaded", "model": model.source.id})
