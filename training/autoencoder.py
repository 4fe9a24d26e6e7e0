"""Pixels to latents and back: an AutoencoderTiny, 8 times smaller a side, 4 channels."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import Tensor

from training.dataset import Pixels
from training.loop import Averaged, Clock, Progress, load_state, save_state

CELL = 8
CROP = 64
BATCH = 16
LATENT_NOISE = 0.05
NEARNESS = 0.03


def new_autoencoder(width: int) -> AutoencoderTiny:
    return AutoencoderTiny(
        latent_channels=4,
        encoder_block_out_channels=(width,) * 4,
        decoder_block_out_channels=(width,) * 4,
        num_encoder_blocks=(1, 1, 1, 3),
        num_decoder_blocks=(3, 3, 2, 1),
        latent_magnitude=3,
        latent_shift=0.5,
        force_upcast=False,
    )


def places(pictures: Pixels, rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """BATCH random crops: a picture, and the top and left of a crop in latent pixels."""
    room = (pictures.shape[1] - CROP) // CELL + 1
    return [(int(rng.integers(len(pictures))), int(rng.integers(room)), int(rng.integers(room))) for _ in range(BATCH)]


def crop(pictures: Pixels, place: tuple[int, int, int]) -> Pixels:
    index, top, left = place[0], place[1] * CELL, place[2] * CELL
    return pictures[index, top : top + CROP, left : left + CROP]


def to_tensor(pictures: Pixels) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2)
    return tensor.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def gradient_loss(output: Tensor, target: Tensor) -> Tensor:
    """How much the differences of neighbouring pixels are off: keeps edges sharp."""
    across = (output[..., 1:] - output[..., :-1]) - (target[..., 1:] - target[..., :-1])
    down = (output[..., 1:, :] - output[..., :-1, :]) - (target[..., 1:, :] - target[..., :-1, :])
    return across.abs().mean() + down.abs().mean()


def picture_loss(output: Tensor, target: Tensor) -> Tensor:
    error = output - target
    return error.abs().mean() + 2 * error.square().mean() + 0.5 * gradient_loss(output, target)


def decibels(output: Tensor, target: Tensor) -> float:
    """Peak signal to noise ratio of pictures in -1..1."""
    return 10 * math.log10(4 / F.mse_loss(output, target).item())


def train_autoencoder(pictures: Pixels, state: Path, steps: int, width: int, seed: int = 0) -> AutoencoderTiny:
    """Encoder and decoder together. Half of the crops are mirrored; a little noise keeps the latents robust."""
    torch.manual_seed(seed)
    model = new_autoencoder(width).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    averaged = Averaged([model], limit=0.998)
    clock = Clock(steps)
    load_state(state, clock, averaged, optimizer, model)
    progress = Progress("autoencoder", clock)
    while not clock.done:
        rng = np.random.default_rng([seed, clock.step])
        for group in optimizer.param_groups:
            group["lr"] = clock.rate(1.2e-3, warmup=100)
        chosen = [crop(pictures, place) for place in places(pictures, rng)]
        target = to_tensor(np.stack([c[:, ::-1] if rng.random() < 0.5 else c for c in chosen]))
        with torch.autocast("cpu", torch.bfloat16):
            latents = model.encode(target).latents
        latents = latents.float()
        with torch.autocast("cpu", torch.bfloat16):
            output = model.decode(latents + LATENT_NOISE * torch.randn_like(latents)).sample
        output = output.float()
        spread = (latents.square().mean() - 1).abs() + latents.mean((0, 2, 3)).square().mean()
        loss = picture_loss(output, target) + 0.01 * spread
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        clock.tick()
        averaged.update(clock.step)
        progress.note(psnr=decibels(output, target), std=latents.std().item())
        if clock.should_save():
            save_state(state, clock, averaged, optimizer, model)
    save_state(state, clock, averaged, optimizer, model)
    averaged.copy_to([model])
    return model.eval()


def train_decoder(
    model: AutoencoderTiny, latents: Tensor, pictures: Pixels, state: Path, steps: int, seed: int = 5
) -> AutoencoderTiny:
    """Goes on with the decoder alone: the latents stay as the denoiser knows them, the pictures get sharper."""
    torch.manual_seed(seed)
    decoder = model.decoder.train()
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    averaged, clock = Averaged([decoder], limit=0.998), Clock(steps)
    load_state(state, clock, averaged, optimizer, decoder)
    progress = Progress("decoder", clock)
    while not clock.done:
        rng = np.random.default_rng([seed, clock.step])
        for group in optimizer.param_groups:
            group["lr"] = clock.rate(1e-3, warmup=50)
        chosen = places(pictures, rng)
        target = to_tensor(np.stack([crop(pictures, place) for place in chosen]))
        side = CROP // CELL
        known = torch.stack([latents[i, :, top : top + side, left : left + side] for i, top, left in chosen]).float()
        with torch.autocast("cpu", torch.bfloat16):
            output = model.decode(known + LATENT_NOISE * torch.randn_like(known)).sample
        output = output.float()
        loss = picture_loss(output, target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        clock.tick()
        averaged.update(clock.step)
        progress.note(psnr=decibels(output, target))
        if clock.should_save():
            save_state(state, clock, averaged, optimizer, decoder)
    save_state(state, clock, averaged, optimizer, decoder)
    averaged.copy_to([decoder])
    return model.eval()


def train_encoder(model: AutoencoderTiny, pictures: Pixels, state: Path, steps: int, seed: int = 6) -> AutoencoderTiny:
    """Goes on with the encoder alone, for pictures unlike those it learned from: the decoder can show more of their
    colours than the encoder asks for. The new latents stay near the old ones, which the denoiser knows.
    """
    torch.manual_seed(seed)
    model.requires_grad_(False).to(memory_format=torch.channels_last)
    before = copy.deepcopy(model.encoder)
    encoder = model.encoder.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    averaged, clock = Averaged([encoder], limit=0.98), Clock(steps)
    load_state(state, clock, averaged, optimizer, encoder)
    progress = Progress("encoder", clock)
    while not clock.done:
        rng = np.random.default_rng([seed, clock.step])
        for group in optimizer.param_groups:
            group["lr"] = clock.rate(1e-3, warmup=20)
        target = to_tensor(np.stack([crop(pictures, place) for place in places(pictures, rng)]))
        with torch.autocast("cpu", torch.bfloat16):
            known, latents = before(target), encoder(target)
        latents = latents.float()
        with torch.autocast("cpu", torch.bfloat16):
            output = model.decode(latents + LATENT_NOISE * torch.randn_like(latents)).sample
        output = output.float()
        loss = picture_loss(output, target) + NEARNESS * F.mse_loss(latents, known.float())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        clock.tick()
        averaged.update(clock.step)
        progress.note(psnr=decibels(output, target), std=latents.std().item())
        if clock.should_save():
            save_state(state, clock, averaged, optimizer, encoder)
    save_state(state, clock, averaged, optimizer, encoder)
    averaged.copy_to([encoder])
    return model.eval()


@torch.no_grad()
def encoded(model: AutoencoderTiny, pictures: Pixels) -> Tensor:
    """Latents of every picture: float16 of shape (N, 4, h, w)."""
    parts = []
    for start in range(0, len(pictures), 100):
        with torch.autocast("cpu", torch.bfloat16):
            parts.append(model.encode(to_tensor(pictures[start : start + 100])).latents.half())
    return torch.cat(parts)
