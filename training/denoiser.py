"""Noise to latents: a small UNet that hears the prompt twice.

Its attention layers read the words as every Stable Diffusion does. The mean of the words also joins the embedding of
the time step (`addition_embed_type="text"`) and so scales and shifts every residual block, which learns much faster:
the text encoder has been taught to put the whole meaning there.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextModel, CLIPTokenizer

from training.captions import caption
from training.dataset import described
from training.drawing import Picture
from training.loop import Averaged, Clock, Progress, load_state, save_state
from training.text_encoder import WIDTH, tokens

UNCONDITIONAL = 0.1
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.018,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "steps_offset": 1,
}


def new_denoiser(channels: tuple[int, ...], latent_size: int) -> UNet2DConditionModel:
    plain = len(channels) - 2
    model = UNet2DConditionModel(
        sample_size=latent_size,
        in_channels=4,
        out_channels=4,
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * plain + ("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2 + ("UpBlock2D",) * plain,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )
    nn.init.zeros_(model.conv_out.weight)
    nn.init.zeros_(model.conv_out.bias)
    return model.to(memory_format=torch.channels_last)


class Lessons:
    """Latents with captions: batch i is decided by i and the seed alone."""

    batch_size = 64

    def __init__(self, latents: Tensor, scale: float, first: int, tokenizer: CLIPTokenizer, seed: int) -> None:
        self.latents, self.scale, self.tokenizer, self.seed = latents, scale, tokenizer, seed
        self.pictures: list[Picture] = [described(first + i) for i in range(len(latents))]

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
    """Noisy latents, their time steps spread evenly over the schedule, and the velocity to be said.

    v = sqrt(a) * noise - sqrt(1 - a) * clean (Salimans and Ho, Progressive Distillation, 2022).
    """
    count = len(clean)
    steps = ((torch.arange(count) + torch.rand(count)) / count * len(alphas)).long().clamp(0, len(alphas) - 1)
    signal, spread = (a.sqrt()[:, None, None, None] for a in (alphas[steps], 1 - alphas[steps]))
    noise = torch.randn_like(clean)
    noisy = (signal * clean + spread * noise).contiguous(memory_format=torch.channels_last)
    return noisy, steps, signal * noise - spread * clean


def train_denoiser(
    denoiser: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    lessons: Lessons,
    state: Path,
    steps: int,
    learns: nn.Module | None = None,
    peak: float = 1.2e-3,
) -> UNet2DConditionModel:
    """`learns` is the part of the denoiser that learns, when it is not all of it; `peak` its learning rate."""
    torch.manual_seed(lessons.seed)
    learns = denoiser if learns is None else learns
    alphas: Tensor = DDIMScheduler(**SCHEDULE).alphas_cumprod
    optimizer = torch.optim.AdamW(learns.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    averaged, clock = Averaged([learns], limit=min(0.998, 1 - 6 / steps)), Clock(steps)
    load_state(state, clock, averaged, optimizer, learns)
    progress = Progress("denoiser", clock)
    while not clock.done:
        for group in optimizer.param_groups:
            group["lr"] = clock.rate(peak, warmup=min(100, steps // 20))
        clean, ids = lessons.batch(clock.step)
        noisy, times, target = velocity_lesson(clean, alphas)
        # On the CPU and at these sizes, plain matrix products train faster than the flash kernel.
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            with torch.no_grad():
                words = text_encoder(ids).last_hidden_state
            output = denoiser(noisy, times, words).sample
        loss = F.mse_loss(output.float(), target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learns.parameters(), 1.0)
        optimizer.step()
        clock.tick()
        averaged.update(clock.step)
        progress.note(loss=loss.item())
        if clock.should_save():
            save_state(state, clock, averaged, optimizer, learns)
    save_state(state, clock, averaged, optimizer, learns)
    averaged.copy_to([learns])
    return denoiser.eval()
