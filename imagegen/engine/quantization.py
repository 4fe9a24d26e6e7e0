"""Denoisers in fewer bits, by diffusers' own means: for models that would not fit otherwise."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from diffusers import BitsAndBytesConfig, GGUFQuantizationConfig, PipelineQuantizationConfig

from imagegen.errors import PackageMissing
from imagegen.info import ModelSource, Quantization
from imagegen.library.families import FAMILIES

Configuration = Callable[[torch.dtype], Any]

# The package that each needs, and how diffusers is asked for it. fp8 needs neither: see `stored_in_fp8`.
KINDS: dict[Quantization, tuple[str, Configuration]] = {
    "int8": ("bitsandbytes", lambda dtype: BitsAndBytesConfig(load_in_8bit=True)),
    "nf4": (
        "bitsandbytes",
        lambda dtype: BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype),
    ),
    "gguf": ("gguf", lambda dtype: GGUFQuantizationConfig(compute_dtype=dtype)),
}


def quantized(source: ModelSource, dtype: torch.dtype) -> dict[str, Any]:
    """What diffusers needs to hear to load a model's denoiser so; nothing for others. Raises PackageMissing."""
    if source.quantization is None or source.quantization not in KINDS:
        return {}
    package, configuration = KINDS[source.quantization]
    if find_spec(package) is None:
        raise PackageMissing(f"{source.name} in {source.quantization}", package)
    if source.path.is_file():
        return {"quantization_config": configuration(dtype)}
    part = FAMILIES[source.pipeline].denoiser
    return {"quantization_config": PipelineQuantizationConfig(quant_mapping={part: configuration(dtype)})}


def stored_in_fp8(denoiser: Any, dtype: torch.dtype) -> None:
    """Keeps each layer in eight bits while it does not work. Norms and embeddings stay as they are."""
    denoiser.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
