"""How networks lie in memory, and how precise they are, so that they are quick and right."""

from __future__ import annotations

from typing import Any

import torch

from imagegen.engine.loading import Pipeline
from imagegen.engine.memory import networks_of
from imagegen.info import ModelSource


def tuned(pipeline: Pipeline, source: ModelSource) -> Pipeline:
    """Convolutions are quicker with channels last, on processors and on GPUs. Nothing here ever learns."""
    for network in networks_of(pipeline):
        network.eval().requires_grad_(requires_grad=False)
    if source.quantization is None:
        for part in ("unet", "vae"):
            pictured: Any = getattr(pipeline, part, None)
            if pictured is not None and all(weight.ndim < 5 for weight in pictured.parameters()):
                pictured.to(memory_format=torch.channels_last)
    return pipeline


def in_its_precision(pipeline: Pipeline) -> None:
    """An autoencoder whose numbers float16 cannot hold is in float32 for good, not back and forth for each picture.

    bfloat16 holds them: there it stays as it is. Most of Stable Diffusion XL are of this kind.
    """
    vae = pipeline.vae
    if vae.config.get("force_upcast"):
        if vae.dtype == torch.float16:
            vae.to(torch.float32)
        vae.register_to_config(force_upcast=False)
