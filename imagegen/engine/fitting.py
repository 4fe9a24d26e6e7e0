"""Latents as colours, for models of which nobody has published how: fitted to what their own autoencoder says."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from imagegen.engine.loading import Pipeline
from imagegen.engine.previews import Projection

PICTURES = 24
CELLS = 2


@torch.no_grad()
def fitted(pipeline: Pipeline) -> Projection:
    """By least squares, over pictures of soft colours. Takes as long as the autoencoder takes for 24 small pictures."""
    device = pipeline._execution_device  # noqa: SLF001 The autoencoder may be elsewhere until it works.
    side = max(64, CELLS * compression(pipeline))
    seeded = torch.Generator().manual_seed(0)
    coarse = torch.rand(PICTURES, 3, CELLS, CELLS, generator=seeded)
    colours = F.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False)
    latents = as_denoised(pipeline, (colours * 2 - 1).to(device, pipeline.vae.dtype)).float().cpu()
    means = F.adaptive_avg_pool2d(colours, (latents.shape[2], latents.shape[3]))
    rows, targets = (values.movedim(1, -1).flatten(0, -2).numpy() for values in (latents, means))
    return solved(rows, targets)


def solved(rows: NDArray[np.float32], targets: NDArray[np.float32]) -> Projection:
    with_one = np.hstack([rows, np.ones((len(rows), 1), np.float32)])
    # A little ridge: a network without training may ignore its input.
    strength = 1e-3 * np.eye(with_one.shape[1], dtype=np.float32)
    solution = np.linalg.solve(with_one.T @ with_one + strength, with_one.T @ targets).astype(np.float32)
    return Projection(solution[:-1], solution[-1])


def compression(pipeline: Pipeline) -> int:
    """How many pixels one latent stands for, along a side."""
    factor: int = getattr(pipeline, "vae_scale_factor", 8)
    return factor


def as_denoised(pipeline: Pipeline, pictures: Tensor) -> Tensor:
    """Latents of shape (n, channels, height, width), scaled as the denoiser of this pipeline sees them."""
    vae = pipeline.vae
    match type(pipeline).__name__:
        case "QwenImagePipeline":
            latents = vae.encode(pictures.unsqueeze(2)).latent_dist.mode()[:, :, 0]
            mean, std = (spread(values, latents) for values in (vae.config.latents_mean, vae.config.latents_std))
            latents = (latents - mean) / std
        case "Flux2KleinPipeline":
            patches = pipeline._patchify_latents(vae.encode(pictures).latent_dist.mode())  # noqa: SLF001
            mean, variance = (spread(values, patches) for values in (vae.bn.running_mean, vae.bn.running_var))
            normal = (patches - mean) / (variance + vae.config.batch_norm_eps).sqrt()
            latents = pipeline._unpatchify_latents(normal)  # noqa: SLF001
        case _:
            encoded = vae.encode(pictures)
            latents = encoded.latent_dist.mode() if "latent_dist" in encoded else encoded[0]
            latents = (latents - (vae.config.get("shift_factor") or 0)) * (vae.config.get("scaling_factor") or 1)
    assert isinstance(latents, Tensor)
    return latents


def spread(values: Any, like: Tensor) -> Tensor:
    """One number for each channel, for latents of shape (n, channels, height, width)."""
    return torch.as_tensor(values).view(1, -1, 1, 1).to(like)
