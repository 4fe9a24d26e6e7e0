"""Noise to latents: a small UNet that hears the prompt twice.

Its attention layers read the words as every Stable Diffusion does. The mean of the words also joins the embedding of
the time step (`addition_embed_type="text"`) and so scales and shifts every residual block, which learns much faster:
the text encoder has been taught to put the whole meaning there.
"""

from __future__ import annotations

import random
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextModel, CLIPTokenizer

from training.captions import caption
from training.dataset import described
from training.drawing import Picture
from training.loop import Course, learn
from training.machine import Machine
from training.recipe import FIRST_SEED
from training.text_encoder import tokens

UNCONDITIONAL = 0.1
TIME_WIDTH = 384
# Where in the schedule the lessons are, as the mean and the deviation of a logit. Shapes are decided a little before
# the middle, so most are there; some stay for the end, where nothing but the colours of large areas can be told.
CENTRE, SPREAD = -0.4, 1.2


def schedule(beta_end: float) -> dict[str, Any]:
    """How noise grows over the time steps, as diffusers' schedulers have it.

    `beta_end` decides how much of a picture is left at the last of them: its mean colour must drown in the noise, and
    the larger a picture, the more noise that takes (Hoogeboom et al., Simple Diffusion, 2023).
    """
    return {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": beta_end,
        "beta_schedule": "scaled_linear",
        "prediction_type": "v_prediction",
        "timestep_spacing": "trailing",
        "steps_offset": 1,
    }


def new_denoiser(channels: tuple[int, ...], attentive: int, latent_size: int, width: int) -> UNet2DConditionModel:
    """`channels` of the levels, from the outermost; the `attentive` innermost of them read the words."""
    plain = len(channels) - attentive
    model = UNet2DConditionModel(
        sample_size=latent_size,
        in_channels=4,
        out_channels=4,
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * plain + ("CrossAttnDownBlock2D",) * attentive,
        up_block_types=("CrossAttnUpBlock2D",) * attentive + ("UpBlock2D",) * plain,
        cross_attention_dim=width,
        attention_head_dim=4,
        norm_num_groups=16,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        time_embedding_dim=TIME_WIDTH,
    )
    nn.init.zeros_(model.conv_out.weight)
    nn.init.zeros_(model.conv_out.bias)
    return model


class Lessons:
    """Latents with captions: batch i is decided by i and the seed alone."""

    def __init__(
        self,
        latents: Tensor,
        scale: float,
        alphas: Tensor,
        tokenizer: CLIPTokenizer,
        batch: int,
        seed: int,
    ) -> None:
        """`latents` of the pictures from FIRST_SEED on, to be scaled; `alphas`, of shape (1000,), say how much of them
        is left at each time step.
        """
        self.latents, self.scale, self.alphas = latents, scale, alphas
        self.tokenizer, self.batch_size, self.seed = tokenizer, batch, seed
        self.pictures: list[Picture] = [described(FIRST_SEED + i) for i in range(len(latents))]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Scaled latents of shape (N, 4, h, w), and token ids of shape (N, 77)."""
        rng = random.Random(f"{self.seed}-{step}")
        texts, chosen = [], []
        for _ in range(self.batch_size):
            index = rng.randrange(len(self.pictures))
            texts.append("" if rng.random() < UNCONDITIONAL else self.text(self.pictures[index], rng))
            chosen.append(index)
        return self.latents[chosen].float() * self.scale, tokens(self.tokenizer, texts)

    def text(self, picture: Picture, rng: random.Random) -> str:
        return caption(picture, rng).text


def velocity_lesson(clean: Tensor, alphas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy latents, their time steps, and the velocity to be said.

    v = sqrt(a) * noise - sqrt(1 - a) * clean (Salimans and Ho, Progressive Distillation, 2022). The steps are spread
    evenly over a logit-normal distribution (Esser et al., Scaling Rectified Flow Transformers, 2024).
    """
    count = len(clean)
    shares = ((torch.arange(count) + torch.rand(count)) / count).clamp(1e-4, 1 - 1e-4).to(clean.device)
    spots = torch.sigmoid(CENTRE + SPREAD * torch.special.ndtri(shares))
    steps = (spots * len(alphas)).long().clamp(0, len(alphas) - 1)
    signal, spread = (a.sqrt()[:, None, None, None] for a in (alphas[steps], 1 - alphas[steps]))
    noise = torch.randn_like(clean)
    noisy = (signal * clean + spread * noise).contiguous(memory_format=torch.channels_last)
    return noisy, steps, signal * noise - spread * clean


def attention(machine: Machine) -> AbstractContextManager[object]:
    """On the CPU and at these sizes, plain matrix products train faster than the flash kernel."""
    return nullcontext() if machine.fast else sdpa_kernel(SDPBackend.MATH)


def train_denoiser(
    denoiser: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    lessons: Lessons,
    state: Path,
    steps: int,
    machine: Machine,
    learns: nn.Module | None = None,
    peak: float = 1.2e-3,
) -> UNet2DConditionModel:
    """`learns` is the part of the denoiser that learns, when it is not all of it; `peak` its learning rate."""
    device = machine.device
    denoiser.to(device, memory_format=torch.channels_last)
    text_encoder.to(device).requires_grad_(False)
    quick = machine.quick(denoiser)
    alphas = lessons.alphas.to(device)

    def lesson(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        clean, ids = (part.to(device) for part in lessons.batch(step))
        noisy, times, target = velocity_lesson(clean, alphas)
        with machine.autocast(), attention(machine):
            words = text_encoder(ids).last_hidden_state
            output = quick(noisy, times, words).sample
        return F.mse_loss(output.float(), target), {}

    average = min(0.998, 1 - 6 / steps)
    course = Course("denoiser", steps, peak, warmup=max(1, min(100, steps // 20)), average=average)
    learn(course, [denoiser if learns is None else learns], lesson, state, machine, lessons.seed)
    return denoiser.eval()
