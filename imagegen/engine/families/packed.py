"""Base class of families with packed latents: unpacks them for previews, and packs them.

Packed latents are rows of patches of 2 x 2 latents, as transformers take them. For decoding, the diffusers pipeline
unpacks them itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from imagegen.engine.families.base import ModelFamily
from imagegen.engine.protocols import Pipeline, get_vae_scale_factor
from imagegen.schema.sizes import Size


class PackedLatentsFamily(ModelFamily):
    """The latents of a step are of shape (n, rows * columns, channels * 2 * 2)."""

    def count_picture_tokens(self, pipeline: Pipeline, size: Size) -> int:
        side = get_vae_scale_factor(pipeline) * 2
        return (size[0] // side) * (size[1] // side)

    def get_denoised_estimate(self, pipeline: Pipeline, height: int) -> Tensor:
        return unpack_latents(pipeline.scheduler.estimate, height // (get_vae_scale_factor(pipeline) * 2))


def pack_latents(latents: Tensor) -> Tensor:
    """Returns latents of shape (n, channels, height, width) as rows of patches, which are the first rows' first."""
    return torch.pixel_unshuffle(latents, 2).flatten(2).transpose(1, 2)


def unpack_latents(latents: Tensor, rows: int) -> Tensor:
    """Returns packed latents in the shape (n, channels, height, width). `rows` counts rows of patches."""
    count, patches, width = latents.shape
    grid = latents.view(count, rows, patches // rows, width // 4, 2, 2)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(count, width // 4, rows * 2, patches // rows * 2)
