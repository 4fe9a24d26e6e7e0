"""Turns a pipeline that was read from disk into a LoadedModel."""

from __future__ import annotations

import torch

from imagegen.engine.adapters.merge import AdapterResolver, WeightPatcher
from imagegen.engine.families.registry import get_model_family
from imagegen.engine.models.budget import MemoryBudget
from imagegen.engine.models.loaded import LoadedModel
from imagegen.engine.models.measure_memory import list_networks, measure_components
from imagegen.engine.models.memory_format import upcast_vae
from imagegen.engine.models.offload import choose_offload_mode, compute_device_bytes
from imagegen.engine.models.quantization import enable_fp8_storage
from imagegen.engine.models.residency import WeightResidency, measure_host_bytes
from imagegen.engine.protocols import Pipeline
from imagegen.schema.models import ModelSource


def prepare_model(source: ModelSource, pipeline: Pipeline, dtype: torch.dtype, budget: MemoryBudget) -> LoadedModel:
    """Returns a model in main memory, with the offload mode in which it fits into the budget of the device."""
    family = get_model_family(source.pipeline)
    if source.quantization == "fp8":
        enable_fp8_storage(family.get_denoiser(pipeline), dtype)
    sizes = measure_components(pipeline)
    mode = choose_offload_mode(budget.low_memory, sizes, budget.device_bytes) if budget.has_device_memory else "off"
    model = LoadedModel(
        source=source,
        family=family,
        pipeline=pipeline,
        adapter_resolver=AdapterResolver(pipeline),
        denoiser_patcher=WeightPatcher(),
        encoders_patcher=WeightPatcher(),
        prompt_encoder=family.create_prompt_encoder(pipeline),
        size_bytes=measure_host_bytes(list_networks(pipeline)),
        device_bytes=compute_device_bytes(sizes, mode),
        mode=mode,
    )
    if mode == "off":
        upcast_vae(pipeline)
    if can_keep_in_main_memory(model, budget):
        model.weights = WeightResidency(list_networks(pipeline))
    return model


def can_keep_in_main_memory(model: LoadedModel, budget: MemoryBudget) -> bool:
    """Whether the weights stay in main memory while a copy of them is on the device."""
    return (
        budget.has_device_memory
        and model.mode == "off"
        and model.source.quantization is None
        and model.size_bytes <= budget.memory_bytes
    )
