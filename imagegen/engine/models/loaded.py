"""A model in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from imagegen.engine.adapters.merge import AdapterResolver, WeightPatcher
from imagegen.engine.batching.proxies import SharedNetworks
from imagegen.engine.families.base import ModelFamily
from imagegen.engine.models.offload import EncoderOffloader, OffloadMode
from imagegen.engine.models.residency import WeightResidency
from imagegen.engine.previews.projection import Projection
from imagegen.engine.prompts.clip import PromptEncoder
from imagegen.engine.prompts.prompt_cache import PromptCache
from imagegen.engine.protocols import Pipeline, Scheduler
from imagegen.schema.field_types import SamplerName
from imagegen.schema.models import ModelSource
from imagegen.schema.tasks import TaskName

# Prompts per model whose embeddings are kept, where the pipeline encodes them itself: about 4 MB each.
MAX_CACHED_PROMPTS = 16


@dataclass
class LoadedModel:
    """A model in memory, with the pipelines, schedulers and cached prompts of its jobs.

    `prompt_encoder` is None where the pipeline encodes prompts itself. `size_bytes` counts main memory, `device_bytes`
    what is on the device at once. `shared_networks` are the networks whose calls are batched; it is None for a model
    that is not wholly on the device, which has one job at a time. `weights` copies the model to a device with its own
    memory, where main memory can keep the weights too. `pipelines` and `schedulers` are copied for each job.
    """

    source: ModelSource
    family: ModelFamily
    pipeline: Pipeline
    adapter_resolver: AdapterResolver
    denoiser_patcher: WeightPatcher
    encoders_patcher: WeightPatcher
    prompt_encoder: PromptEncoder | None
    size_bytes: int
    device_bytes: int
    mode: OffloadMode
    schedulers: dict[SamplerName, Scheduler] = field(default_factory=dict)
    prompt_cache: PromptCache[object] = field(default_factory=lambda: PromptCache(MAX_CACHED_PROMPTS))
    pipelines: dict[TaskName, Pipeline] = field(default_factory=dict)
    shared_networks: SharedNetworks | None = None
    weights: WeightResidency | None = None
    projection: Projection | None = None
    encoder_offloader: EncoderOffloader | None = None
    is_on_device: bool = False
    use_count: int = 0

    @property
    def denoiser(self) -> nn.Module:
        return self.family.get_denoiser(self.pipeline)

    def clear_device_state(self) -> None:
        """Unmerges LoRAs, and drops everything on the device besides the weights."""
        self.pipelines = {}
        self.denoiser_patcher.unmerge_and_free()
        self.encoders_patcher.unmerge_and_free()
        self.prompt_cache.clear()
        if self.prompt_encoder is not None:
            self.prompt_encoder.clear_cache()

    def drop_references(self) -> None:
        """Drops all tensors, so that a job that still holds this object keeps no memory alive.

        The attributes that hold them are deleted: using the model afterwards raises AttributeError.
        """
        if self.mode == "offload":
            self.pipeline.remove_all_hooks()
        del self.pipeline, self.adapter_resolver, self.denoiser_patcher, self.encoders_patcher
        self.prompt_encoder = self.encoder_offloader = self.shared_networks = self.weights = None
        self.pipelines = {}
        self.prompt_cache.clear()
        self.is_on_device = False
