"""What a model is built like, and what an adapter was made for, in the same words: only equals go together."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from imagegen.library.families import FAMILIES
from imagegen.library.weights import Head

UNKNOWN = "unknown"
# By the width of the text that the UNet attends to.
OF_WIDTH = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
# By parts of the names in a LoRA for a transformer; the first that fits.
OF_NAMES = (
    ("FLUX.2 klein", ("to_qkv_mlp_proj", "stream_modulation")),
    ("FLUX.1", ("single_transformer_blocks", "single_blocks", "double_blocks")),
    ("Qwen-Image", ("img_mlp", "img_mod", "txt_mlp")),
    ("Z-Image", (".layers.", "_layers_")),
)
# Parts of names in text encoders and UNets.
NOT_OF_TRANSFORMERS = (
    "text_encoder",
    "lora_te",
    "down_blocks",
    "up_blocks",
    "mid_block",
    "input_blocks",
    "output_blocks",
    "middle_block",
)
# What training tools write into their files.
OF_METADATA = (
    ("Stable Diffusion XL", ("sdxl", "stable-diffusion-xl")),
    ("Stable Diffusion 3", ("sd3", "stable-diffusion-3", "stable-diffusion-v3")),
    ("Stable Diffusion 2", ("sd_v2", "sd_2", "stable-diffusion-v2")),
    ("Stable Diffusion 1", ("sd_v1", "sd_1", "stable-diffusion-v1")),
    ("FLUX.1", ("flux1", "flux-1", "flux.1")),
    ("Qwen-Image", ("qwen",)),
    ("Z-Image", ("z-image", "zimage")),
    ("Sana", ("sana",)),
)


def of_width(width: int) -> str:
    return OF_WIDTH.get(width, f"Stable Diffusion of width {width}")


def of_folder(pipeline: str, folder: Path) -> str:
    """Of a model in diffusers format."""
    family = FAMILIES[pipeline]
    if family.denoiser == "transformer":
        return family.name
    width = json.loads((folder / "unet" / "config.json").read_bytes())["cross_attention_dim"]
    return of_width(width[0] if isinstance(width, list) else width)


def of_lora(head: Head) -> str:
    """What a LoRA was made for: by its shapes, else by its names, else by what its author says."""
    unet = [name for name in head.shapes if name.startswith(("unet.", "lora_unet_", "base_model.model.unet."))]
    hears = next((name for name in unet if is_text_input(name) and len(head.shapes[name]) == 2), None)
    if hears is not None:
        return of_width(head.shapes[hears][1])
    transformers = [name for name in head.shapes if not any(part in name for part in NOT_OF_TRANSFORMERS)]
    return of_names(transformers) or of_joint_width(head) or of_metadata(head.metadata) or UNKNOWN


def is_text_input(name: str) -> bool:
    """Whether a tensor is the first half of what the UNet makes of the text: its last side is the text's width."""
    attends = "attn2.to_k" in name or "attn2_to_k" in name or "attn2.processor.to_k" in name
    return attends and any(half in name for half in ("lora_down", "lora_A", "lora.down"))


def of_names(names: Iterable[str]) -> str | None:
    names = list(names)
    for architecture, parts in OF_NAMES:
        if any(part in name for name in names for part in parts):
            return architecture
    if any("attn2" in name for name in names if name.startswith("transformer.")):
        return "Sana"
    return None


def of_joint_width(head: Head) -> str | None:
    """Several transformers attend to text and picture at once, under the same names; only one of them is so narrow."""
    widths = {shape[-1] for name, shape in head.shapes.items() if "add_q_proj" in name and "lora_A" in name}
    return "Stable Diffusion 3" if widths and widths <= {1536, 2432} else None


def of_metadata(metadata: dict[str, str]) -> str | None:
    said = " ".join(metadata.get(key, "") for key in ("modelspec.architecture", "ss_base_model_version")).lower()
    return next((name for name, words in OF_METADATA if any(word in said for word in words)), None)


def of_embedding(head: Head) -> str:
    """What a textual inversion was made for: one vector or several, as wide as the text; or those of two encoders."""
    shapes = head.shapes
    if {"clip_l", "clip_g"} <= shapes.keys():
        return of_width(shapes["clip_l"][-1] + shapes["clip_g"][-1])
    if len(shapes) == 1:
        return of_width(next(iter(shapes.values()))[-1])
    return UNKNOWN
