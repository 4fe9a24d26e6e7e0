"""Memory format and precision of networks, for speed and for correct numbers."""

from __future__ import annotations

from typing import Any

import torch

from imagegen.engine.models.measure_memory import list_networks
from imagegen.engine.protocols import Pipeline
from imagegen.schema.models import ModelSource


def prepare_for_inference(pipeline: Pipeline, source: ModelSource) -> Pipeline:
    """Switches training off, and puts convolutions into the channels-last format, which is faster on CPUs and GPUs."""
    for network in list_networks(pipeline):
        network.eval().requires_grad_(requires_grad=False)
    if source.quantization is None:
        for part in ("unet", "vae"):
            component: Any = getattr(pipeline, part, None)
            if component is not None and all(weight.ndim < 5 for weight in component.parameters()):
                component.to(memory_format=torch.channels_last)
    return pipeline


def upcast_vae(pipeline: Pipeline) -> None:
    """Converts an autoencoder whose numbers overflow in float16 to float32 once, instead of for each picture.

    In bfloat16 they do not overflow, and it stays as it is. Most Stable Diffusion XL models have such an autoencoder.
    """
    vae = pipeline.vae
    if vae.config.get("force_upcast"):
        if vae.dtype == torch.float16:
            vae.to(torch.float32)
        vae.register_to_config(force_upcast=False)
