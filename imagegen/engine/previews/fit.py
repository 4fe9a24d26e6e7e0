"""Fits a projection with the model's own autoencoder, for families without published figures."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from imagegen.engine.families.base import ModelFamily
from imagegen.engine.previews.projection import Projection
from imagegen.engine.protocols import Pipeline, get_vae_scale_factor

SAMPLE_COUNT = 24
GRID_SIZE = 2


@torch.no_grad()
def fit_projection(pipeline: Pipeline, family: ModelFamily) -> Projection:
    """Returns a projection fitted by least squares to random smooth pictures and their latents.

    Takes as long as the autoencoder takes to encode 24 small pictures.
    """
    device = pipeline._execution_device  # noqa: SLF001 The autoencoder may be moved to it only while it works.
    side = max(64, GRID_SIZE * get_vae_scale_factor(pipeline))
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(SAMPLE_COUNT, 3, GRID_SIZE, GRID_SIZE, generator=generator)
    images = F.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False)
    latents = family.encode_latents(pipeline, (images * 2 - 1).to(device, pipeline.vae.dtype)).float().cpu()
    means = F.adaptive_avg_pool2d(images, (latents.shape[2], latents.shape[3]))
    rows, targets = (values.movedim(1, -1).flatten(0, -2).numpy() for values in (latents, means))
    return solve_least_squares(rows, targets)


def solve_least_squares(rows: NDArray[np.float32], targets: NDArray[np.float32]) -> Projection:
    """Returns the projection that maps rows of shape (n, channels) to targets of shape (n, 3)."""
    rows_with_bias = np.hstack([rows, np.ones((len(rows), 1), np.float32)])
    # A small ridge penalty, since the latents of an untrained network may not depend on its input.
    ridge = 1e-3 * np.eye(rows_with_bias.shape[1], dtype=np.float32)
    solution = np.linalg.solve(rows_with_bias.T @ rows_with_bias + ridge, rows_with_bias.T @ targets).astype(np.float32)
    return Projection(solution[:-1], solution[-1])
