"""Few steps instead of twenty: a LoRA with which the model says at once where many steps would lead.

This is latent consistency distillation (Luo et al., LCM-LoRA: A Universal Stable-Diffusion Acceleration Module, 2023)
with one guidance for all: the model with the LoRA must say the same of a noisy picture as of the one that the model
without it makes of that in one step of DDIM. Guidance is part of what is learned, so it is asked with a guidance of 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor

from training.denoiser import Lessons, attention
from training.latents import drawn_latents
from training.loop import Course, learn
from training.lora import save_lora, with_adapter
from training.machine import Machine
from training.recipe import Recipe
from training.text_encoder import tokens

RANK = 32
LAYERS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "time_emb_proj", "conv1", "conv2"]
GUIDANCE = 4.0
# The steps of DDIM that the teacher takes; diffusers' LCMScheduler chooses its own among the same.
TEACHER_STEPS = 50
# Of a boundary that consistency models need, https://arxiv.org/abs/2310.04378, as diffusers' LCMScheduler has it.
SIGMA, TIME_SCALE = 0.5, 10.0
SOFTNESS = 0.001
METADATA = {
    "format": "pt",
    "modelspec.architecture": "stable-diffusion-embedded",
    "modelspec.title": "Fast",
    "modelspec.description": "Four steps of LCM with a guidance of 1, instead of twenty.",
    "modelspec.license": "apache-2.0",
    "ss_base_model_version": "embedded",
}


@dataclass(frozen=True)
class Moment:
    """Noisy latents at their time steps: of shape (N, 4, h, w), and (N,)."""

    noisy: Tensor
    times: Tensor
    alphas: Tensor

    def clean(self, velocity: Tensor) -> Tensor:
        signal, spread = self._shares()
        return signal * self.noisy - spread * velocity

    def noise(self, velocity: Tensor) -> Tensor:
        signal, spread = self._shares()
        return signal * velocity + spread * self.noisy

    def consistent(self, velocity: Tensor) -> Tensor:
        """What a consistency model says of it: the clean latents, and at time 0 just what is there."""
        scaled = self.times.float()[:, None, None, None] * TIME_SCALE
        kept = SIGMA**2 / (scaled**2 + SIGMA**2)
        said = scaled / (scaled**2 + SIGMA**2).sqrt()
        return kept * self.noisy + said * self.clean(velocity)

    def _shares(self) -> tuple[Tensor, Tensor]:
        share = self.alphas[self.times][:, None, None, None]
        return share.sqrt(), (1 - share).sqrt()


def train_fast(recipe: Recipe, model: Path, file: Path, machine: Machine) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32)
    latents = drawn_latents(pipeline.vae, recipe, machine)
    scale: float = pipeline.vae.config.scaling_factor
    alphas: Tensor = pipeline.scheduler.alphas_cumprod.to(machine.device)
    lessons = Lessons(latents, scale, alphas, pipeline.tokenizer, recipe.fast_batch, seed=8)
    unet = pipeline.unet.to(machine.device, memory_format=torch.channels_last)
    matrices = with_adapter(unet, RANK, LAYERS)
    text = pipeline.text_encoder.to(machine.device).requires_grad_(False)
    stride = len(alphas) // TEACHER_STEPS
    with torch.no_grad():
        nothing: Tensor = text(tokens(pipeline.tokenizer, [""]).to(machine.device)).last_hidden_state

    def said(moment: Moment, words: Tensor) -> Tensor:
        with machine.autocast(), attention(machine):
            velocity: Tensor = unet(moment.noisy, moment.times, words).sample
        return velocity.float()

    def lesson(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        clean, ids = (part.to(machine.device) for part in lessons.batch(step))
        times = stride * torch.randint(1, TEACHER_STEPS + 1, (len(clean),), device=machine.device) - 1
        share = alphas[times][:, None, None, None]
        later = Moment(share.sqrt() * clean + (1 - share).sqrt() * torch.randn_like(clean), times, alphas)
        with torch.no_grad():
            words: Tensor = text(ids).last_hidden_state
            with without_adapter(unet):
                plain = said(later, nothing.expand_as(words))
                velocity = plain + GUIDANCE * (said(later, words) - plain)
            earlier = step_back(later, velocity, stride)
            target = earlier.consistent(said(earlier, words))
        output = later.consistent(said(later, words))
        return ((output - target).square() + SOFTNESS**2).sqrt().mean() - SOFTNESS, {}

    course = Course("fast", recipe.fast_steps, 1e-3, warmup=max(1, recipe.fast_steps // 20), average=0.95)
    learn(course, [matrices], lesson, recipe.work / f"fast-{recipe.denoiser_steps}.pt", machine, lessons.seed)
    save_lora(unet, file, METADATA)


def step_back(moment: Moment, velocity: Tensor, stride: int) -> Moment:
    """One step of DDIM (Song et al., 2020), to the time `stride` before, or to 0."""
    times = (moment.times - stride).clamp(min=0)
    share = moment.alphas[times][:, None, None, None]
    return Moment(
        share.sqrt() * moment.clean(velocity) + (1 - share).sqrt() * moment.noise(velocity), times, moment.alphas
    )


@contextmanager
def without_adapter(unet: UNet2DConditionModel) -> Iterator[None]:
    unet.disable_adapters()
    try:
        yield
    finally:
        unet.enable_adapters()
