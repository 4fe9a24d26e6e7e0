"""The latents of drawn pictures, cached on disk. The pictures themselves are not kept."""

from __future__ import annotations

import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from training.autoencoder import encode_pictures
from training.dataset import chunks
from training.machine import Machine
from training.recipe import FIRST_SEED, Recipe

# Pictures that are drawn and encoded before their latents are saved.
PART = 2500


def load_or_encode_latents(autoencoder: AutoencoderTiny, recipe: Recipe, machine: Machine) -> Tensor:
    """Returns the latents of all pictures of the recipe: float16 of shape (N, 4, h, w)."""
    folder, parts = recipe.work / f"latents-{recipe.size}-{recipe.autoencoder_steps}", []
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, recipe.pictures, PART):
        count = min(PART, recipe.pictures - start)
        file = folder / f"{start}-{count}.pt"
        if not file.exists():
            machine.check_time()
            pictures = chunks(FIRST_SEED + start, count, recipe.size, machine.workers)
            partial = file.with_suffix(".partial")
            torch.save(encode_pictures(autoencoder, pictures, machine), partial)
            partial.rename(file)
        parts.append(torch.load(file, weights_only=True))
    return torch.cat(parts)
