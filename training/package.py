"""Writes the trained parts as a stock StableDiffusionPipeline folder, with the matrix for previews."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from training.dataset import Pixels

PREVIEW_PICTURES = 1000
# The largest size of a weight file.
SHARD = "45MB"


def package(
    folder: Path,
    autoencoder: AutoencoderTiny,
    scale: float,
    text: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    unet: UNet2DConditionModel,
    scheduler: DPMSolverMultistepScheduler,
) -> StableDiffusionPipeline:
    """Writes the folder in half precision, and returns the pipeline."""
    autoencoder.register_to_config(scaling_factor=scale)
    pipeline = StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder, max_shard_size=SHARD)
    return pipeline


def write_preview_matrix(folder: Path, latents: Tensor, scale: float, pictures: Pixels) -> None:
    """Writes the least-squares linear map from scaled latents to RGB in 0..1, fitted to drawn pictures."""
    count = min(PREVIEW_PICTURES, len(pictures))
    scaled_latents = latents[:count].float() * scale
    side = scaled_latents.shape[-1]
    colors = torch.from_numpy(np.array(pictures[:count])).permute(0, 3, 1, 2).float() / 255
    colors = F.interpolate(colors, (side, side), mode="area")
    inputs = scaled_latents.permute(0, 2, 3, 1).reshape(-1, 4).numpy()
    inputs = np.concatenate([inputs, np.ones((len(inputs), 1), np.float32)], axis=1)
    solution, *_ = np.linalg.lstsq(inputs, colors.permute(0, 2, 3, 1).reshape(-1, 3).numpy(), rcond=None)
    rounded = np.round(solution.astype(np.float64), 4).tolist()
    text = json.dumps({"matrix": rounded[:4], "bias": rounded[4]}, indent=1)
    (folder / "preview.json").write_text(text + "\n", encoding="utf-8")
