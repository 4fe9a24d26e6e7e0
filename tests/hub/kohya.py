"""LoRAs in the format of kohya's scripts: their layer names and their metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.hub.layers import RANK, Shape, denoiser, pipeline_class, text_encoder
from tests.hub.single_file import unet_name

TRIGGER = "studio style"
# In FLUX.1's original layout, queries, keys and values are one layer.
FLUX_NAMES = {
    "to_q": "img_attn_qkv",
    "to_out.0": "img_attn_proj",
    "add_q_proj": "txt_attn_qkv",
    "to_add_out": "txt_attn_proj",
}


@dataclass(frozen=True)
class Base:
    """`version` is kohya's name of the model, `architecture` its name in Stability AI's model metadata standard."""

    version: str
    architecture: str
    text_encoders: Mapping[str, str]


BASES = {
    "StableDiffusionPipeline": Base("sd_v1", "stable-diffusion-v1/lora", {"lora_te": "text_encoder"}),
    "StableDiffusionXLPipeline": Base(
        "sdxl_base_v1-0",
        "stable-diffusion-xl-v1-base/lora",
        {"lora_te1": "text_encoder", "lora_te2": "text_encoder_2"},
    ),
    "FluxPipeline": Base("flux1", "flux-1-dev/lora", {"lora_te1": "text_encoder"}),
}


def metadata(pipeline_folder: Path) -> dict[str, str]:
    base = BASES[pipeline_class(pipeline_folder)]
    return {
        "ss_base_model_version": base.version,
        "ss_output_name": "studio-style",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(RANK),
        "ss_network_alpha": str(float(RANK)),
        "ss_tag_frequency": json.dumps({"10_studio": {TRIGGER: 12, "a cat": 7, "outdoors": 3}}),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": base.architecture,
        "modelspec.title": "Studio style",
        "modelspec.trigger_phrase": TRIGGER,
    }


def denoiser_modules(pipeline_folder: Path) -> Iterator[tuple[str, Shape]]:
    """Yields layers by kohya's names: original names for Stable Diffusion XL, diffusers' names for its predecessors."""
    family, (_, layers) = pipeline_class(pipeline_folder), denoiser(pipeline_folder)
    if family == "FluxPipeline":
        yield from flux_modules(layers)
        return
    for name, shape in layers.items():
        original = unet_name(name, layers) if "XL" in family else name
        yield f"lora_unet_{underscored(original)}", shape


def flux_modules(layers: Mapping[str, Shape]) -> Iterator[tuple[str, Shape]]:
    """Yields FLUX.1's layers, except single blocks: diffusers splits these by the sizes of the full model."""
    for name, (outputs, inputs) in layers.items():
        match = re.fullmatch(r"transformer_blocks\.(\d+)\.attn\.(.*)", name)
        if match and (part := FLUX_NAMES.get(match[2])):
            count = 3 if part.endswith("qkv") else 1
            yield f"lora_unet_double_blocks_{match[1]}_{part}", (count * outputs, inputs)


def text_modules(pipeline_folder: Path) -> Iterator[tuple[str, Shape]]:
    for prefix, part in BASES[pipeline_class(pipeline_folder)].text_encoders.items():
        for name, shape in text_encoder(pipeline_folder / part).items():
            yield f"{prefix}_{underscored(name)}", shape


def underscored(name: str) -> str:
    return name.replace(".", "_")
