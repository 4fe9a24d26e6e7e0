"""Control maps as latents, as ControlNets of transformers get them, and the features that they add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from imagegen.engine.batching.collate import Arguments
from imagegen.engine.families.base import ModelFamily
from imagegen.engine.protocols import Pipeline


@torch.no_grad()
def encode_map(pixels: Tensor, family: ModelFamily, pipeline: Pipeline) -> Tensor:
    """Returns the latents of a control map with numbers in 0..1, scaled as the denoiser gets them.

    Both are of shape (1, channels, height, width). They are the mode of what the autoencoder says of them. diffusers'
    pipelines for FLUX.1 and Stable Diffusion 3 draw them at random; the width of that is too small to be seen, and a
    picture would begin with other noise than without the control.
    """
    vae = pipeline.vae
    parameter = next(vae.parameters())
    return family.encode_latents(pipeline, pixels.to(parameter) * 2 - 1)


def get_tensor(arguments: Arguments, name: str) -> Tensor:
    """Returns an argument of a denoiser that is always there."""
    value = arguments[name]
    assert isinstance(value, Tensor)
    return value


def weigh(features: Sequence[Tensor], weight: float) -> list[Tensor]:
    return [each * weight for each in features]


def check_widths(network: Any, denoiser: Any) -> None:
    """Raises ValueError if the tokens of a ControlNet are of another width than those of its denoiser."""
    own, expected = (each.config.num_attention_heads * each.config.attention_head_dim for each in (network, denoiser))
    if own != expected:
        raise ValueError(f"its tokens have {own} numbers instead of {expected}")
