"""The latents that a VAE makes, and those that a model works with: by configurations, tensors and names, without torch.

A VAE fits a model whose latents have as many channels, stand for as many pixels, and are of the same architecture.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from imagegen.library.architectures import match_metadata
from imagegen.library.family_facts import FLUX, STABLE_DIFFUSION_3, STABLE_DIFFUSION_XL
from imagegen.library.weight_files import SafetensorsHeader
from imagegen.schema.models import UNKNOWN_ARCHITECTURE, Latents

# Stable Diffusion 1 and 2 have the same latents.
STABLE_DIFFUSION_1_2 = "Stable Diffusion 1 and 2"
# By the number of channels and the scaling factor.
ARCHITECTURES: Mapping[tuple[int, float], str] = {
    (4, 0.18215): STABLE_DIFFUSION_1_2,
    (4, 0.13025): STABLE_DIFFUSION_XL.name,
    (16, 1.5305): STABLE_DIFFUSION_3.name,
    (16, 0.3611): FLUX.name,
}
# What the names of VAEs say of their latents, the words that tell most first. Those of AutoencoderTiny are the only
# fact: all have the same configuration.
NAME_PATTERNS = (
    (re.compile(r"taesdxl|sd-?xl|(^|[^a-z])xl"), STABLE_DIFFUSION_XL.name),
    (re.compile(r"taesd3|sd-?3|stable-diffusion-3"), STABLE_DIFFUSION_3.name),
    (re.compile(r"taef1|flux"), FLUX.name),
    (re.compile(r"taesd|(^|[^a-z])sd-?[12]|ft-(mse|ema)|kl-f8"), STABLE_DIFFUSION_1_2),
)
METADATA_ARCHITECTURES: Mapping[str, str] = {
    "Stable Diffusion 1": STABLE_DIFFUSION_1_2,
    "Stable Diffusion 2": STABLE_DIFFUSION_1_2,
    STABLE_DIFFUSION_XL.name: STABLE_DIFFUSION_XL.name,
}
VAE_CLASSES = ("AutoencoderKL", "AutoencoderTiny")
# diffusers' default values, by class.
DEFAULT_SCALING_FACTORS = {"AutoencoderKL": 0.18215, "AutoencoderTiny": 1.0}
DEFAULT_CHANNELS = 4
# The prefixes of tensor names in checkpoints of whole models.
ORIGINAL_PREFIXES = ("first_stage_model.", "vae.")


class UnknownVae(ValueError):
    """The file is not a VAE that the studio can use. The message is about the file."""


def find_model_latents(config: Mapping[str, Any]) -> Latents | None:
    """Returns the latents of a model by the configuration of its VAE; None if no other VAE could take its place."""
    try:
        return read_latents(config, "")
    except UnknownVae:
        return None


def read_latents(config: Mapping[str, Any], name: str) -> Latents:
    """Returns the latents of a VAE by its configuration, and by its name where that does not tell them.

    Raises UnknownVae for a class that the studio does not load.
    """
    class_name = str(config.get("_class_name", "AutoencoderKL"))
    if class_name not in VAE_CLASSES:
        raise UnknownVae(f"it is a {class_name[:60]}; it can be {' or '.join(VAE_CLASSES)}")
    blocks = config.get("block_out_channels") or config.get("decoder_block_out_channels")
    if not isinstance(blocks, list | tuple):
        raise UnknownVae("its configuration has no block_out_channels")
    channels = int(config.get("latent_channels") or DEFAULT_CHANNELS)
    scaling = float(config.get("scaling_factor") or DEFAULT_SCALING_FACTORS[class_name])
    return Latents(
        channels=channels, pixels=2 ** (len(blocks) - 1), architecture=name_architecture(channels, scaling, name)
    )


def name_architecture(channels: int, scaling: float, name: str) -> str:
    """Returns the name of latents by their channels and their scaling factor.

    A factor of 1 tells nothing: AutoencoderTiny scales its latents itself, for each architecture. Then the VAE's name
    decides. Models with latents of their own have another factor, by which their VAEs are known.
    """
    if scaling == 1:
        return match_name(name, channels) or UNKNOWN_ARCHITECTURE
    return ARCHITECTURES.get((channels, scaling), f"latents scaled by {scaling:g}")


def detect_latents(header: SafetensorsHeader, name: str) -> Latents:
    """Returns the latents of a VAE in a file without a configuration. Raises UnknownVae.

    Nothing in the tensors tells the VAEs of Stable Diffusion 1, 2 and XL apart, which have the same shapes. The file's
    metadata decides, else its name. If neither says anything, the architecture is unknown: the VAE can be used with
    each model whose latents have four channels, and gets the scaling factor of that model, as in the web UI.
    """
    shapes = {strip_prefix(tensor): shape for tensor, shape in header.shapes.items()}
    if not is_vae(header):
        raise UnknownVae("it contains no VAE in the format of Stable Diffusion, and has no config.json beside it")
    channels = shapes["decoder.conv_in.weight"][1]
    if channels != DEFAULT_CHANNELS:
        raise UnknownVae(f"its latents have {channels} channels, and it needs a config.json beside it")
    by_metadata = METADATA_ARCHITECTURES.get(match_metadata(header.metadata) or "")
    architecture = by_metadata or match_name(name, channels) or UNKNOWN_ARCHITECTURE
    return Latents(channels=channels, pixels=8, architecture=architecture)


def is_vae(header: SafetensorsHeader) -> bool:
    """Returns whether a file has the tensors of a VAE in the original format."""
    names = {strip_prefix(name) for name in header.shapes}
    return {"decoder.conv_in.weight", "decoder.mid.block_1.conv1.weight", "encoder.conv_in.weight"} <= names


def is_diffusers_vae(header: SafetensorsHeader) -> bool:
    """Returns whether a file has the tensors of a VAE in diffusers format, which needs its configuration."""
    return any(name.startswith(("decoder.mid_block.", "decoder.layers.")) for name in header.shapes)


def strip_prefix(name: str) -> str:
    """Returns the name of a tensor in the original format as a file with a VAE alone has it."""
    for prefix in ORIGINAL_PREFIXES:
        name = name.removeprefix(prefix)
    return name


def match_name(name: str, channels: int) -> str | None:
    """Returns the architecture with latents of so many channels that the name of a VAE speaks of, or None."""
    text = name.lower().replace("_", "-")
    known = {architecture for (each, _), architecture in ARCHITECTURES.items() if each == channels}
    return next((name for pattern, name in NAME_PATTERNS if name in known and pattern.search(text)), None)
