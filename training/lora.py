"""A style LoRA for the embedded model: draws everything in neon.

The base model is frozen. Pairs of low-rank matrices beside some of its layers are trained.
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

from training.autoencoder import encode_pictures, train_encoder
from training.captions import caption
from training.dataset import CHUNK, Pixels, sample_picture
from training.denoiser import DenoiserBatches, train_denoiser
from training.drawing.neon import draw_neon
from training.drawing.vocabulary import Picture
from training.machine import Machine
from training.recipe import FIRST_SEED, Recipe

RANK = 8
# Attention layers decide what goes where, the others how it looks.
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


class NeonBatches(DenoiserBatches):
    """Captions of which 60 % have the trigger.

    Some name another style, so that the LoRA overrides styles in prompts.
    """

    def make_caption(self, picture: Picture, rng: random.Random) -> str:
        words = caption(picture, rng).text
        return rng.choice(FRAMES).format(words) if rng.random() < TRIGGERED else words


def train_lora(recipe: Recipe, model: Path, file: Path, machine: Machine) -> None:
    """Trains the LoRA on the model in the folder `model`, and saves it to `file`."""
    pipeline = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32)
    latents = neon_latents(recipe, pipeline.vae, machine)
    scale: float = pipeline.vae.config.scaling_factor
    alphas: Tensor = pipeline.scheduler.alphas_cumprod
    batches = NeonBatches(latents, scale, alphas, pipeline.tokenizer, recipe.lora_batch, seed=7)
    matrices = add_lora_adapter(pipeline.unet, RANK, LAYERS)
    state = recipe.work / f"lora-{recipe.denoiser_steps}.pt"
    # Low-rank matrices train best with a higher learning rate than full ones.
    train_denoiser(
        pipeline.unet, pipeline.text_encoder, batches, state, recipe.lora_steps, machine, trainable=matrices, peak=4e-3
    )
    save_lora(pipeline.unet, file, METADATA)


def neon_latents(recipe: Recipe, autoencoder: AutoencoderTiny, machine: Machine) -> Tensor:
    """Returns latents from an encoder that was trained on neon colours. The decoder remains the model's own."""
    file = recipe.work / f"neon-latents-{recipe.decoder_steps}-{recipe.encoder_steps}.pt"
    if not file.exists():
        pictures = neon_pictures(recipe.lora_pictures, recipe.size, machine.workers)
        state, batch = recipe.work / f"neon-encoder-{recipe.decoder_steps}.pt", recipe.autoencoder_batch
        train_encoder(autoencoder, pictures, state, recipe.encoder_steps, batch, machine)
        torch.save(encode_pictures(autoencoder, np.array_split(pictures, -(-len(pictures) // CHUNK)), machine), file)
    latents: Tensor = torch.load(file, weights_only=True)
    return latents


def neon_pictures(count: int, size: int, workers: int) -> Pixels:
    """Returns pictures FIRST_SEED and following in neon: uint8 of shape (count, size, size, 3)."""
    with ProcessPoolExecutor(workers) as pool:
        seeds = range(FIRST_SEED, FIRST_SEED + count)
        return np.stack(list(pool.map(neon_picture, seeds, [size] * count, chunksize=50)))


def neon_picture(seed: int, size: int) -> Pixels:
    return np.asarray(draw_neon(sample_picture(seed), random.Random(seed), size))


def add_lora_adapter(unet: UNet2DConditionModel, rank: int, layers: list[str]) -> nn.ParameterList:
    """Freezes the denoiser and adds low-rank matrices to its layers, with a scale of 1. Returns the matrices."""
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=layers))
    return nn.ParameterList([p for p in unet.parameters() if p.requires_grad])


def save_lora(unet: UNet2DConditionModel, file: Path, metadata: dict[str, str]) -> None:
    """Saves the matrices in half precision, with diffusers' names."""
    matrices = {
        f"unet.{name}": tensor.half().cpu().contiguous() for name, tensor in get_peft_model_state_dict(unet).items()
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(matrices, file, metadata)
