"""A LoRA for few steps instead of twenty: with it, the model predicts directly where many steps would lead.

This is distillation of whole paths (Luhman and Luhman, Knowledge Distillation in Iterative Generative Models, 2021),
from any time step: for a noisy picture, the model with the LoRA must predict where some DDIM steps of the model without
it lead. Guidance is part of what is learned, so the model runs with a guidance of 1, and with the LCM sampler, which
adds noise to such predictions for the next step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor

from training.denoiser import DenoiserBatches, select_attention_backend
from training.latents import load_or_encode_latents
from training.loop import TrainingSchedule, run_training
from training.lora import add_lora_adapter, save_lora
from training.machine import Machine
from training.recipe import Recipe
from training.text_encoder import tokenize

RANK = 32
LAYERS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "time_emb_proj", "conv1", "conv2"]
GUIDANCE = 4.0
# Steps of the teacher from any time step to the end.
TEACHER_STEPS = 6
# The number of time steps from which diffusers' LCMScheduler chooses.
TIMES = 50
SOFTNESS = 0.001
METADATA = {
    "format": "pt",
    "modelspec.architecture": "stable-diffusion-embedded",
    "modelspec.title": "Fast",
    "modelspec.description": "Four steps of LCM with a guidance of 1, instead of twenty.",
    "studio.settings": '{"steps": 4, "guidance_scale": 1, "sampler": "LCM"}',
    "modelspec.license": "apache-2.0",
    "ss_base_model_version": "embedded",
}


@dataclass(frozen=True)
class NoisyLatents:
    """Noisy latents of shape (N, 4, h, w) at time steps of shape (N,); `alphas` are cumulative products."""

    noisy: Tensor
    times: Tensor
    alphas: Tensor

    def clean(self, velocity: Tensor) -> Tensor:
        """Returns the clean latents that belong to a velocity."""
        signal, spread = self._shares()
        return signal * self.noisy - spread * velocity

    def noise(self, velocity: Tensor) -> Tensor:
        """Returns the noise that belongs to a velocity."""
        signal, spread = self._shares()
        return signal * velocity + spread * self.noisy

    def at(self, times: Tensor, clean: Tensor, noise: Tensor) -> NoisyLatents:
        """Returns latents with this noise at other time steps; from one to the next is a step of DDIM (Song et al.,
        2020).
        """
        share = self.alphas[times][:, None, None, None]
        return NoisyLatents(share.sqrt() * clean + (1 - share).sqrt() * noise, times, self.alphas)

    def _shares(self) -> tuple[Tensor, Tensor]:
        share = self.alphas[self.times][:, None, None, None]
        return share.sqrt(), (1 - share).sqrt()


def train_fast(recipe: Recipe, model: Path, file: Path, machine: Machine) -> None:
    """Trains the LoRA and saves it to `file`. Raises OutOfTimeError with its state saved."""
    pipeline = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32)
    latents = load_or_encode_latents(pipeline.vae, recipe, machine)
    scale: float = pipeline.vae.config.scaling_factor
    alphas: Tensor = pipeline.scheduler.alphas_cumprod.to(machine.device)
    batches = DenoiserBatches(latents, scale, alphas, pipeline.tokenizer, recipe.fast_batch, seed=8)
    unet = pipeline.unet.to(machine.device, memory_format=torch.channels_last)
    matrices = add_lora_adapter(unet, RANK, LAYERS)
    text = pipeline.text_encoder.to(machine.device).requires_grad_(False)
    stride = len(alphas) // TIMES
    with torch.no_grad():
        empty_words: Tensor = text(tokenize(pipeline.tokenizer, [""]).to(machine.device)).last_hidden_state

    def predict_velocity(point: NoisyLatents, words: Tensor) -> Tensor:
        with machine.autocast(), select_attention_backend(machine):
            velocity: Tensor = unet(point.noisy, point.times, words).sample
        return velocity.float()

    def predict_with_teacher(point: NoisyLatents, words: Tensor) -> Tensor:
        """Returns the clean latents that the teacher's steps lead to."""
        for left in reversed(range(TEACHER_STEPS)):
            unguided = predict_velocity(point, empty_words.expand_as(words))
            velocity = unguided + GUIDANCE * (predict_velocity(point, words) - unguided)
            clean = point.clean(velocity)
            point = point.at(point.times * left // (left + 1), clean, point.noise(velocity))
        return clean

    def compute_loss(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        clean, ids = (part.to(machine.device) for part in batches.make_batch(step))
        times = stride * torch.randint(1, TIMES + 1, (len(clean),), device=machine.device) - 1
        point = NoisyLatents(clean, times, alphas).at(times, clean, torch.randn_like(clean))
        with torch.no_grad():
            words: Tensor = text(ids).last_hidden_state
            with without_adapter(unet):
                target = predict_with_teacher(point, words)
        output = point.clean(predict_velocity(point, words))
        return ((output - target).square() + SOFTNESS**2).sqrt().mean() - SOFTNESS, {}

    training_schedule = TrainingSchedule(
        "fast", recipe.fast_steps, 1e-3, warmup=max(1, recipe.fast_steps // 20), average=0.95
    )
    run_training(
        training_schedule,
        [matrices],
        compute_loss,
        recipe.work / f"fast-{recipe.denoiser_steps}.pt",
        machine,
        batches.seed,
    )
    save_lora(unet, file, METADATA)


@contextmanager
def without_adapter(unet: UNet2DConditionModel) -> Iterator[None]:
    """Switches the LoRA off inside the block."""
    unet.disable_adapters()
    try:
        yield
    finally:
        unet.enable_adapters()
