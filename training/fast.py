"""Few steps instead of twenty: a LoRA with which the model says at once where many steps would lead.

This is distillation of whole paths (Luhman and Luhman, Knowledge Distillation in Iterative Generative Models, 2021),
from any time on: of a noisy picture, the model with the LoRA must say at once where some steps of DDIM lead by the
model without it. Guidance is part of what is learned, so it is asked with a guidance of 1, by the sampler LCM, which
takes such answers and makes them noisy again for the next.
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
# How many steps the teacher takes from any time to the end.
TEACHER_STEPS = 6
# diffusers' LCMScheduler chooses its times among so many.
TIMES = 50
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

    def at(self, times: Tensor, clean: Tensor, noise: Tensor) -> Moment:
        """These latents with this noise at other times; from one to the next is a step of DDIM (Song et al., 2020)."""
        share = self.alphas[times][:, None, None, None]
        return Moment(share.sqrt() * clean + (1 - share).sqrt() * noise, times, self.alphas)

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
    stride = len(alphas) // TIMES
    with torch.no_grad():
        nothing: Tensor = text(tokens(pipeline.tokenizer, [""]).to(machine.device)).last_hidden_state

    def said(moment: Moment, words: Tensor) -> Tensor:
        with machine.autocast(), attention(machine):
            velocity: Tensor = unet(moment.noisy, moment.times, words).sample
        return velocity.float()

    def taught(moment: Moment, words: Tensor) -> Tensor:
        """Where the steps of the teacher lead from there: clean latents."""
        for left in reversed(range(TEACHER_STEPS)):
            plain = said(moment, nothing.expand_as(words))
            velocity = plain + GUIDANCE * (said(moment, words) - plain)
            clean = moment.clean(velocity)
            moment = moment.at(moment.times * left // (left + 1), clean, moment.noise(velocity))
        return clean

    def lesson(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        clean, ids = (part.to(machine.device) for part in lessons.batch(step))
        times = stride * torch.randint(1, TIMES + 1, (len(clean),), device=machine.device) - 1
        moment = Moment(clean, times, alphas).at(times, clean, torch.randn_like(clean))
        with torch.no_grad():
            words: Tensor = text(ids).last_hidden_state
            with without_adapter(unet):
                target = taught(moment, words)
        output = moment.clean(said(moment, words))
        return ((output - target).square() + SOFTNESS**2).sqrt().mean() - SOFTNESS, {}

    course = Course("fast", recipe.fast_steps, 1e-3, warmup=max(1, recipe.fast_steps // 20), average=0.95)
    learn(course, [matrices], lesson, recipe.work / f"fast-{recipe.denoiser_steps}.pt", machine, lessons.seed)
    save_lora(unet, file, METADATA)


@contextmanager
def without_adapter(unet: UNet2DConditionModel) -> Iterator[None]:
    unet.disable_adapters()
    try:
        yield
    finally:
        unet.enable_adapters()
