"""Models in one file: which pipeline they belong to, told by the names of their tensors."""

from __future__ import annotations

from pathlib import Path

from imagegen.library.weights import Head
from imagegen.settings import ASSETS

CONFIGS = ASSETS / "configs"
# A part of a name that no other architecture has, the pipeline, and the folder with its configuration.
MARKS = (
    ("conditioner.embedders.1.model.transformer.resblocks", "StableDiffusionXLPipeline", "sd-xl"),
    ("cond_stage_model.model.transformer.resblocks", "StableDiffusionPipeline", "sd-2"),
    ("cond_stage_model.transformer", "StableDiffusionPipeline", "sd-1"),
    ("double_blocks.0.img_attn.qkv", "FluxPipeline", None),
)


def recognised(head: Head) -> tuple[str, Path | None] | None:
    """Pipeline and configuration of a checkpoint; None when it is of no kind that can be loaded from one file.

    FLUX comes without text encoders and autoencoder, so that its configuration is another model's whole folder.
    """
    for mark, pipeline, config in MARKS:
        if any(mark in name for name in head.shapes):
            return pipeline, CONFIGS / config if config else None
    return None
