"""Quantized denoisers, with the backends of diffusers: for models that would not fit in memory otherwise."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from diffusers import BitsAndBytesConfig, GGUFQuantizationConfig, PipelineQuantizationConfig

from imagegen.errors import PackageMissing
from imagegen.library.families import get_family
from imagegen.schema.models import ModelSource, Quantization

ConfigFactory = Callable[[torch.dtype], Any]

# The package that each needs, and its configuration for diffusers. fp8 needs neither: see `enable_fp8_storage`.
QUANTIZATION_BACKENDS: dict[Quantization, tuple[str, ConfigFactory]] = {
    "int8": ("bitsandbytes", lambda dtype: BitsAndBytesConfig(load_in_8bit=True)),
    "nf4": (
        "bitsandbytes",
        lambda dtype: BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype),
    ),
    "gguf": ("gguf", lambda dtype: GGUFQuantizationConfig(compute_dtype=dtype)),
}


def build_quantization_options(source: ModelSource, dtype: torch.dtype) -> dict[str, Any]:
    """Returns the options with which diffusers quantizes a model's denoiser; none for fp8 and for other models.

    Raises PackageMissing.
    """
    if source.quantization is None or source.quantization not in QUANTIZATION_BACKENDS:
        return {}
    package, create_config = QUANTIZATION_BACKENDS[source.quantization]
    if find_spec(package) is None:
        raise PackageMissing(f"{source.name} in {source.quantization}", package)
    if source.path.is_file():
        return {"quantization_config": create_config(dtype)}
    component = get_family(source.pipeline).denoiser
    return {"quantization_config": PipelineQuantizationConfig(quant_mapping={component: create_config(dtype)})}


def enable_fp8_storage(denoiser: Any, dtype: torch.dtype) -> None:
    """Stores each layer in eight bits, and casts it to `dtype` for each call. Norms and embeddings stay as they are."""
    denoiser.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
