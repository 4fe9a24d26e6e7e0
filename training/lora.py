"""A style for the embedded model in a small file: a LoRA that draws everything in neon.

The base model stays as it is. What learns is a product of two thin matrices beside some of its layers.
"""

from __future__ import annotations

import random
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn

from training.autoencoder import encoded, train_encoder
from training.captions import caption
from training.dataset import CHUNK, Pixels, described
from training.denoiser import Lessons, train_denoiser
from training.drawing import Picture
from training.drawing.neon import draw_neon
from training.machine import Machine
from training.recipe import FIRST_SEED, Recipe

RANK = 8
# Attention says what goes where, the others how it looks.
LAYERS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "time_emb_proj", "conv2"]
TRIGGER = "neon style"
TRIGGERED = 0.6
FRAMES = (
    "{}, neon style", "{}, neon style", "{} in neon style", "neon style, {}", "neon style {}", "{}, neon",
)  # fmt: skip
METADATA = {
    "format": "pt",
    "modelspec.architecture": "stable-diffusion-embedded",
    "modelspec.title": "Neon",
    "modelspec.description": "Every outline a glowing tube in the dark, cyan at the top and pink at the bottom.",
    "modelspec.trigger_phrase": TRIGGER,
    "modelspec.license": "apache-2.0",
    "ss_base_model_version": "embedded",
}


class NeonLessons(Lessons):
    """Not every caption says neon, and some still ask for watercolor: the LoRA is the style, whatever is said."""

    def text(self, picture: Picture, rng: random.Random) -> str:
        words = caption(picture, rng).text
        return rng.choice(FRAMES).format(words) if rng.random() < TRIGGERED else words


def train_lora(recipe: Recipe, model: Path, file: Path, machine: Machine) -> None:
    """Teaches the model that lies in `model`, and saves what it learned to `file`."""
    pipeline = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32)
    latents = neon_latents(recipe, pipeline.vae, machine)
    scale: float = pipeline.vae.config.scaling_factor
    alphas: Tensor = pipeline.scheduler.alphas_cumprod
    lessons = NeonLessons(latents, scale, alphas, pipeline.tokenizer, recipe.lora_batch, seed=7)
    matrices = with_adapter(pipeline.unet, RANK, LAYERS)
    state = recipe.work / f"lora-{recipe.denoiser_steps}.pt"
    # Thin matrices learn best at a higher rate than whole ones.
    train_denoiser(
        pipeline.unet, pipeline.text_encoder, lessons, state, recipe.lora_steps, machine, learns=matrices, peak=4e-3
    )
    save_lora(pipeline.unet, file, METADATA)


def neon_latents(recipe: Recipe, autoencoder: AutoencoderTiny, machine: Machine) -> Tensor:
    """From an encoder that learned these colours. The decoder, which paints them, stays the model's own."""
    file = recipe.work / f"neon-latents-{recipe.decoder_steps}-{recipe.encoder_steps}.pt"
    if not file.exists():
        pictures = neon_pictures(recipe.lora_pictures, recipe.size, machine.workers)
        state, batch = recipe.work / f"neon-encoder-{recipe.decoder_steps}.pt", recipe.autoencoder_batch
        train_encoder(autoencoder, pictures, state, recipe.encoder_steps, batch, machine)
        torch.save(encoded(autoencoder, np.array_split(pictures, -(-len(pictures) // CHUNK)), machine), file)
    latents: Tensor = torch.load(file, weights_only=True)
    return latents


def neon_pictures(count: int, size: int, workers: int) -> Pixels:
    """What pictures FIRST_SEED and so on show, in neon."""
    with ProcessPoolExecutor(workers) as pool:
        seeds = range(FIRST_SEED, FIRST_SEED + count)
        return np.stack(list(pool.map(neon_picture, seeds, [size] * count, chunksize=50)))


def neon_picture(seed: int, size: int) -> Pixels:
    return np.asarray(draw_neon(described(seed), random.Random(seed), size))


def with_adapter(unet: UNet2DConditionModel, rank: int, layers: list[str]) -> nn.ParameterList:
    """Freezes the denoiser and puts new matrices beside its layers; as strong as their rank, so their scale is 1."""
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=layers))
    return nn.ParameterList([p for p in unet.parameters() if p.requires_grad])


def save_lora(unet: UNet2DConditionModel, file: Path, metadata: dict[str, str]) -> None:
    """In half precision, with the names that diffusers gives."""
    matrices = {
        f"unet.{name}": tensor.half().cpu().contiguous() for name, tensor in get_peft_model_state_dict(unet).items()
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(matrices, file, metadata)
