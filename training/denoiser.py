"""The denoiser: a small UNet that gets the prompt in two ways.

Its attention layers attend to the words as in every Stable Diffusion. The mean of the words is also added to the
embedding of the time step (`addition_embed_type="text"`), and so scales and shifts every residual block, which learns
much faster: the text encoder was trained to put the whole meaning there.
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
from training.dataset import sample_picture
from training.drawing.vocabulary import Picture
from training.loop import TrainingSchedule, run_training
from training.machine import Machine
from training.recipe import FIRST_SEED
from training.text_encoder import tokenize

UNCONDITIONAL = 0.1
TIME_WIDTH = 384
# The distribution of training time steps: mean and deviation of a logit. Shapes are decided a little before the
# middle, so most steps are there; some remain at the noisy end, where only the colours of large areas are visible.
CENTRE, SPREAD = -0.4, 1.2


def schedule(beta_end: float) -> dict[str, Any]:
    """Returns the noise schedule in the form of diffusers' schedulers.

    `beta_end` decides how much of the signal is left at the last time step: the noise must hide the mean colour of a
    picture, which takes more noise the larger the picture is (Hoogeboom et al., Simple Diffusion, 2023).
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
    """Returns an untrained UNet. `channels` are those of the levels from the outermost; the `attentive` innermost
    levels have cross-attention. `width` is that of the text encoder.
    """
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


class DenoiserBatches:
    """Batches of latents and captions. Batch i depends on i and the seed alone."""

    # The share of empty captions.
    unconditional = UNCONDITIONAL

    def __init__(
        self,
        latents: Tensor,
        scale: float,
        alphas: Tensor,
        tokenizer: CLIPTokenizer,
        batch: int,
        seed: int,
    ) -> None:
        """`latents` are those of the pictures from FIRST_SEED on, before scaling by `scale`.

        `alphas`, of shape (1000,), are the scheduler's cumulative products: the share of the signal at each time step.
        """
        self.latents, self.scale, self.alphas = latents, scale, alphas
        self.tokenizer, self.batch_size, self.seed = tokenizer, batch, seed
        self.pictures: list[Picture] = [sample_picture(FIRST_SEED + i) for i in range(len(latents))]

    def make_batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Returns scaled latents of shape (N, 4, h, w), and token ids of shape (N, 77)."""
        chosen, texts = self.choose_pictures(step)
        return self.latents[chosen].float() * self.scale, tokenize(self.tokenizer, texts)

    def choose_pictures(self, step: int) -> tuple[list[int], list[str]]:
        """Returns the indices of the pictures of a batch, and their captions, of which some are empty."""
        rng = random.Random(f"{self.seed}-{step}")
        texts, chosen = [], []
        for _ in range(self.batch_size):
            index = rng.randrange(len(self.pictures))
            texts.append("" if rng.random() < self.unconditional else self.make_caption(self.pictures[index], rng))
            chosen.append(index)
        return chosen, texts

    def make_caption(self, picture: Picture, rng: random.Random) -> str:
        """Returns the caption of a picture; overridden for style LoRAs."""
        return caption(picture, rng).text


def make_velocity_target(clean: Tensor, alphas: Tensor, centre: float = CENTRE) -> tuple[Tensor, Tensor, Tensor]:
    """Returns noisy latents, their time steps, and the velocity to predict.

    v = sqrt(a) * noise - sqrt(1 - a) * clean (Salimans and Ho, Progressive Distillation, 2022). The steps are spread
    evenly over a logit-normal distribution (Esser et al., Scaling Rectified Flow Transformers, 2024); `centre` is the
    logit of its median.
    """
    count = len(clean)
    shares = ((torch.arange(count) + torch.rand(count)) / count).clamp(1e-4, 1 - 1e-4).to(clean.device)
    positions = torch.sigmoid(centre + SPREAD * torch.special.ndtri(shares))
    steps = (positions * len(alphas)).long().clamp(0, len(alphas) - 1)
    signal, spread = (a.sqrt()[:, None, None, None] for a in (alphas[steps], 1 - alphas[steps]))
    noise = torch.randn_like(clean)
    noisy = (signal * clean + spread * noise).contiguous(memory_format=torch.channels_last)
    return noisy, steps, signal * noise - spread * clean


def select_attention_backend(machine: Machine) -> AbstractContextManager[object]:
    """Selects plain matrix products on a CPU, which at these sizes train faster than the flash kernel."""
    return nullcontext() if machine.fast else sdpa_kernel(SDPBackend.MATH)


def train_denoiser(
    denoiser: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    batches: DenoiserBatches,
    state: Path,
    steps: int,
    machine: Machine,
    trainable: nn.Module | None = None,
    peak: float = 1.2e-3,
) -> UNet2DConditionModel:
    """Trains the denoiser, or only its part `trainable`, with the peak learning rate `peak`."""
    device = machine.device
    denoiser.to(device, memory_format=torch.channels_last)
    text_encoder.to(device).requires_grad_(False)
    compiled_denoiser = machine.compile(denoiser)
    alphas = batches.alphas.to(device)

    def compute_loss(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        clean, ids = (part.to(device) for part in batches.make_batch(step))
        noisy, times, target = make_velocity_target(clean, alphas)
        with machine.autocast(), select_attention_backend(machine):
            words = text_encoder(ids).last_hidden_state
            output = compiled_denoiser(noisy, times, words).sample
        return F.mse_loss(output.float(), target), {}

    average = min(0.998, 1 - 6 / steps)
    training_schedule = TrainingSchedule("denoiser", steps, peak, warmup=max(1, min(100, steps // 20)), average=average)
    run_training(
        training_schedule, [denoiser if trainable is None else trainable], compute_loss, state, machine, batches.seed
    )
    return denoiser.eval()
