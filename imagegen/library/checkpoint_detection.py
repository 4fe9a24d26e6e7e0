"""Single-file checkpoints: their pipeline, recognized by tensor names."""

from __future__ import annotations

from pathlib import Path

from imagegen.library.family_facts import FLUX, STABLE_DIFFUSION, STABLE_DIFFUSION_XL
from imagegen.library.weight_files import SafetensorsHeader
from imagegen.settings import ASSETS_DIR

CONFIGS_DIR = ASSETS_DIR / "configs"
# Part of a tensor name that only this architecture has, its pipeline, and the folder with its configuration.
CHECKPOINT_MARKERS = (
    ("conditioner.embedders.1.model.transformer.resblocks", STABLE_DIFFUSION_XL.pipeline, "sd-xl"),
    ("cond_stage_model.model.transformer.resblocks", STABLE_DIFFUSION.pipeline, "sd-2"),
    ("cond_stage_model.transformer", STABLE_DIFFUSION.pipeline, "sd-1"),
    ("double_blocks.0.img_attn.qkv", FLUX.pipeline, None),
)
# The ends of the names of the layers that take the latents.
INPUT_LAYERS = ("input_blocks.0.0.weight", "img_in.weight")


def detect_checkpoint(header: SafetensorsHeader) -> tuple[str, Path | None] | None:
    """Returns pipeline class and configuration folder of a checkpoint; None if the architecture is not supported.

    FLUX checkpoints have no text encoders and no autoencoder, so that the configuration is None: they need a complete
    model on disk for both.
    """
    for marker, pipeline, config in CHECKPOINT_MARKERS:
        if any(marker in name for name in header.shapes):
            return pipeline, CONFIGS_DIR / config if config else None
    return None


def read_input_channels(header: SafetensorsHeader) -> int | None:
    """Returns the input channels of the denoiser in a checkpoint; None if its first layer has another name."""
    return next((shape[1] for name, shape in header.shapes.items() if name.endswith(INPUT_LAYERS)), None)
