"""Tiny LoRAs of rank 4 for a model in a folder, and embeddings. All change pictures visibly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.hub import kohya
from tests.hub.layers import RANK, denoiser, pair, text_encoder

Weights = dict[str, torch.Tensor]


def diffusers_lora(
    pipeline_folder: Path,
    file: Path,
    seed: int = 1,
    strength: float = 1.0,
    metadata: Mapping[str, str] | None = None,
    *,
    text: bool = False,
) -> None:
    """Saves a LoRA in diffusers' and peft's format. `text` includes the first text encoder."""
    part, layers = denoiser(pipeline_folder)
    modules = {f"{part}.{name}": shape for name, shape in layers.items()}
    if text:
        text_layers = text_encoder(pipeline_folder / "text_encoder")
        modules |= {f"text_encoder.{name}": shape for name, shape in text_layers.items()}
    generator, weights = torch.Generator().manual_seed(seed), Weights()
    for name, shape in modules.items():
        weights[f"{name}.lora_A.weight"], weights[f"{name}.lora_B.weight"] = pair(shape, strength, generator)
    save_file(weights, file, {"format": "pt", **(metadata or {})})


def kohya_lora(
    pipeline_folder: Path,
    file: Path,
    seed: int = 1,
    strength: float = 1.0,
    metadata: Mapping[str, str] | None = None,
    *,
    text: bool = True,
) -> None:
    """Saves a LoRA in kohya's format, for Stable Diffusion 1 and XL and FLUX.1. `metadata` overrides the defaults."""
    modules = dict(kohya.denoiser_modules(pipeline_folder))
    if text:
        modules |= kohya.text_modules(pipeline_folder)
    generator, weights = torch.Generator().manual_seed(seed), Weights()
    for name, shape in modules.items():
        weights[f"{name}.lora_down.weight"], weights[f"{name}.lora_up.weight"] = pair(shape, strength, generator)
        weights[f"{name}.alpha"] = torch.tensor(float(RANK))
    save_file(weights, file, kohya.metadata(pipeline_folder) | dict(metadata or {}))


def textual_inversion(file: Path, widths: Mapping[str, int], vectors: int = 2, seed: int = 1) -> None:
    """Saves a textual inversion. `widths` by key: `emb_params` or a token for Stable Diffusion 1 and 2, `clip_l` and
    `clip_g` for XL.
    """
    generator = torch.Generator().manual_seed(seed)
    save_file({key: 3 * torch.randn(vectors, width, generator=generator) for key, width in widths.items()}, file)
