"""Architectures of models and adapters, by name. An adapter fits a model when both names are equal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from imagegen.library.families import get_family
from imagegen.library.family_facts import FAMILIES, FLUX, FLUX2_KLEIN, SANA, STABLE_DIFFUSION_3
from imagegen.library.lora_tensors import Shape, count_sides, split_tensor_name
from imagegen.library.weight_files import SafetensorsHeader
from imagegen.schema.models import UNKNOWN_ARCHITECTURE

# By the width of the text embeddings that the UNet's cross-attention takes.
ARCHITECTURE_BY_TEXT_WIDTH = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
# Parts of the names of layers in UNets, and in text encoders.
UNET_NAMES = ("down_blocks", "up_blocks", "mid_block", "input_blocks", "output_blocks", "middle_block")
TEXT_ENCODER_NAMES = ("text_encoder", "lora_te", "text_model")
# Layers of which FLUX.2 has another shape than FLUX.1, with the same name: its outputs to its inputs.
FLUX2_SIDES = (
    (re.compile(r"single_blocks[._]\d+[._]linear1$"), 9, 1),
    (re.compile(r"single_blocks[._]\d+[._]linear2$"), 1, 4),
    (re.compile(r"double_blocks[._]\d+[._](img|txt)_mlp[._]0$"), 6, 1),
    (re.compile(r"double_blocks[._]\d+[._](img|txt)_mlp[._]2$"), 1, 3),
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


# The outputs and inputs of layers by their names; None where the tensors do not tell.
LayerSides = Mapping[str, tuple[int, int] | None]


def detect_lora_architecture(header: SafetensorsHeader) -> str:
    """Returns the architecture that a LoRA was trained for: by tensor shapes, else tensor names, else metadata."""
    layers = measure_layers(header)
    text_projection = next((sides for layer, sides in layers.items() if sides and is_text_projection(layer)), None)
    if text_projection is not None:
        return get_unet_architecture(text_projection[1])
    transformer_layers = {
        layer: sides for layer, sides in layers.items() if not has_part(layer, (*UNET_NAMES, *TEXT_ENCODER_NAMES))
    }
    by_name = match_layer_names(transformer_layers)
    if by_name in (None, SANA.architecture):  # Stable Diffusion 3.5 has a second attention, too.
        by_name = match_joint_attention_width(transformer_layers) or by_name
    by_metadata = match_metadata(header.metadata)
    flux2 = FLUX2_KLEIN.architecture
    if by_name == FLUX.architecture and (has_flux2_sides(transformer_layers) or by_metadata == flux2):
        return flux2
    return by_name or by_metadata or UNKNOWN_ARCHITECTURE


def measure_layers(header: SafetensorsHeader) -> LayerSides:
    shapes: dict[str, dict[str, Shape]] = {}
    for name, shape in header.shapes.items():
        layer, role = split_tensor_name(name) or (name, "")
        shapes.setdefault(layer, {})[role] = shape
    return {layer: count_sides(by_role) for layer, by_role in shapes.items()}


def has_part(name: str, parts: Iterable[str]) -> bool:
    return any(part in name for part in parts)


def is_text_projection(layer: str) -> bool:
    """Returns whether a layer is the key of a cross-attention in a UNet, whose inputs have the width of the text."""
    return has_part(layer, UNET_NAMES) and has_part(layer, ("attn2.to_k", "attn2_to_k", "attn2.processor.to_k"))


def has_flux2_sides(layers: LayerSides) -> bool:
    """Returns whether a layer has the shape that it has in FLUX.2, and not the one that it has in FLUX.1."""
    return any(
        sides is not None and sides[0] and sides[0] * inputs == sides[1] * outputs
        for layer, sides in layers.items()
        for pattern, outputs, inputs in FLUX2_SIDES
        if pattern.search(layer)
    )


def match_layer_names(names: Iterable[str]) -> str | None:
    """Returns the transformer architecture that the layer names of a LoRA belong to, or None."""
    names = list(names)
    for family in reversed(FAMILIES.values()):  # FLUX.2 also has the names of FLUX.1, which comes before it.
        pattern = family.lora_tensor_pattern
        if pattern is not None and any(pattern.search(name) for name in names):
            return family.architecture
    return None


def match_joint_attention_width(layers: LayerSides) -> str | None:
    """Returns Stable Diffusion 3 if the joint attention has its width. Other transformers use the same names."""
    widths = {sides[1] for layer, sides in layers.items() if sides is not None and "add_q_proj" in layer}
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
