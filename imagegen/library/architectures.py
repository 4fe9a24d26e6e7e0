"""Architectures of models and adapters, by name. An adapter fits a model when both names are equal."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from imagegen.library.families import get_family
from imagegen.library.family_facts import FAMILIES, STABLE_DIFFUSION_3
from imagegen.library.weight_files import SafetensorsHeader
from imagegen.schema.models import UNKNOWN_ARCHITECTURE

# By the width of the text embeddings that the UNet's cross-attention takes.
ARCHITECTURE_BY_TEXT_WIDTH = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
# Parts of tensor names in text encoders and UNets.
NON_TRANSFORMER_NAMES = (
    "text_encoder",
    "lora_te",
    "down_blocks",
    "up_blocks",
    "mid_block",
    "input_blocks",
    "output_blocks",
    "middle_block",
)
# Parts of the metadata that training tools write into their files: those of the families, and of the two
# architectures that are one family.
METADATA_MARKERS = (
    *((family.architecture, family.lora_metadata_words) for family in FAMILIES.values()),
    ("Stable Diffusion 2", ("sd_v2", "sd_2", "stable-diffusion-v2")),
    ("Stable Diffusion 1", ("sd_v1", "sd_1", "stable-diffusion-v1")),
)


def get_unet_architecture(width: int) -> str:
    """Returns the architecture of a UNet by the width of its text embeddings."""
    return ARCHITECTURE_BY_TEXT_WIDTH.get(width, f"Stable Diffusion of width {width}")


def detect_folder_architecture(pipeline: str, folder: Path) -> str:
    """Returns the architecture of a model folder in diffusers format, read from its configuration.

    Raises KeyError, OSError and ValueError for a folder without a readable configuration.
    """
    family = get_family(pipeline)
    if family.denoiser == "transformer":
        return family.architecture
    width = json.loads((folder / "unet" / "config.json").read_bytes())["cross_attention_dim"]
    return get_unet_architecture(width[0] if isinstance(width, list) else width)


def detect_lora_architecture(header: SafetensorsHeader) -> str:
    """Returns the architecture that a LoRA was trained for: by tensor shapes, else tensor names, else metadata."""
    unet_names = [name for name in header.shapes if name.startswith(("unet.", "lora_unet_", "base_model.model.unet."))]
    text_projections = (name for name in unet_names if is_text_projection(name) and len(header.shapes[name]) == 2)
    text_projection = next(text_projections, None)
    if text_projection is not None:
        return get_unet_architecture(header.shapes[text_projection][1])
    transformer_names = [name for name in header.shapes if not any(part in name for part in NON_TRANSFORMER_NAMES)]
    return (
        match_tensor_names(transformer_names)
        or match_joint_attention_width(header)
        or match_metadata(header.metadata)
        or UNKNOWN_ARCHITECTURE
    )


def is_text_projection(name: str) -> bool:
    """Returns whether a tensor is the down projection of a cross-attention key, whose last side is the text width."""
    is_cross_attention = "attn2.to_k" in name or "attn2_to_k" in name or "attn2.processor.to_k" in name
    return is_cross_attention and any(half in name for half in ("lora_down", "lora_A", "lora.down"))


def match_tensor_names(names: Iterable[str]) -> str | None:
    """Returns the transformer architecture that the tensor names of a LoRA belong to, or None."""
    names = list(names)
    for family in reversed(FAMILIES.values()):  # FLUX.2 also has the names of FLUX.1, which comes before it.
        pattern = family.lora_tensor_pattern
        if pattern is not None and any(pattern.search(name) for name in names):
            return family.architecture
    return None


def match_joint_attention_width(header: SafetensorsHeader) -> str | None:
    """Returns Stable Diffusion 3 if the joint attention has its width. Other transformers use the same names."""
    widths = {shape[-1] for name, shape in header.shapes.items() if "add_q_proj" in name and "lora_A" in name}
    return STABLE_DIFFUSION_3.name if widths and widths <= {1536, 2432} else None


def match_metadata(metadata: dict[str, str]) -> str | None:
    """Returns the architecture that the metadata names, or None."""
    metadata_text = " ".join(
        metadata.get(key, "") for key in ("modelspec.architecture", "ss_base_model_version")
    ).lower()
    return next((name for name, words in METADATA_MARKERS if any(word in metadata_text for word in words)), None)


def detect_embedding_architecture(header: SafetensorsHeader) -> str:
    """Returns the architecture that a textual inversion was trained for, by the width of its vectors.

    SDXL's have two tensors, one for each text encoder; both widths are added up.
    """
    shapes = header.shapes
    if {"clip_l", "clip_g"} <= shapes.keys():
        return get_unet_architecture(shapes["clip_l"][-1] + shapes["clip_g"][-1])
    if len(shapes) == 1:
        return get_unet_architecture(next(iter(shapes.values()))[-1])
    return UNKNOWN_ARCHITECTURE
