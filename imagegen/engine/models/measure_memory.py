"""Measures the memory that models take: of a source before it is loaded, and of each network of a pipeline."""

from __future__ import annotations

import torch
from torch import nn

from imagegen.engine.protocols import Pipeline
from imagegen.library.memory_estimate import count_weights
from imagegen.schema.models import ModelSource


def estimate_model_bytes(source: ModelSource, dtype: torch.dtype) -> int:
    """Returns the bytes that a model will take in memory, before it is loaded; 0 where its files do not say."""
    return count_weights(source) * dtype.itemsize


def list_networks(pipeline: Pipeline) -> list[nn.Module]:
    return [part for part in pipeline.components.values() if isinstance(part, nn.Module)]


def measure_components(pipeline: Pipeline) -> dict[str, int]:
    """Returns the bytes of each network, by component."""
    return {
        name: sum(tensor.nbytes for tensor in (*part.parameters(), *part.buffers()))
        for name, part in pipeline.components.items()
        if isinstance(part, nn.Module)
    }
