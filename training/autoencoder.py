"""Pixels to latents and back: an AutoencoderTiny, 8 times smaller a side, 4 channels."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import Tensor

from training.dataset import Pixels
from training.loop import Course, learn
from training.machine import Machine

CELL = 8
CROP = 64
LATENT_NOISE = 0.05
NEARNESS = 0.03
Places = list[tuple[int, int, int]]


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


def places(pictures: Pixels, count: int, rng: np.random.Generator) -> Places:
    """Random crops: a picture, and the top and left of a crop in latent pixels."""
    room = (pictures.shape[1] - CROP) // CELL + 1
    return [(int(rng.integers(len(pictures))), int(rng.integers(room)), int(rng.integers(room))) for _ in range(count)]


def crops(pictures: Pixels, chosen: Places) -> Pixels:
    parts = []
    for index, row, column in chosen:
        top, left = row * CELL, column * CELL
        parts.append(pictures[index, top : top + CROP, left : left + CROP])
    return np.stack(parts)


def to_tensor(pictures: Pixels, device: torch.device | None = None) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(pictures)).to(device).permute(0, 3, 1, 2)
    return tensor.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def gradient_loss(output: Tensor, target: Tensor) -> Tensor:
    """How much the differences of neighbouring pixels are off: keeps edges sharp."""
    across = (output[..., 1:] - output[..., :-1]) - (target[..., 1:] - target[..., :-1])
    down = (output[..., 1:, :] - output[..., :-1, :]) - (target[..., 1:, :] - target[..., :-1, :])
    return across.abs().mean() + down.abs().mean()


def picture_loss(output: Tensor, target: Tensor) -> Tensor:
    error = output - target
    return error.abs().mean() + 2 * error.square().mean() + 0.5 * gradient_loss(output, target)


def decibels(output: Tensor, target: Tensor) -> Tensor:
    """Peak signal to noise ratio of pictures in -1..1."""
    return 10 * torch.log10(4 / F.mse_loss(output, target))


class Painter:
    """An autoencoder while it learns on a machine."""

    def __init__(self, model: AutoencoderTiny, machine: Machine) -> None:
        self.machine = machine
        self.model = model.to(machine.device, memory_format=torch.channels_last)
        self.encoder, self.decoder = machine.quick(model.encoder), machine.quick(model.decoder)

    def encode(self, pictures: Tensor) -> Tensor:
        with self.machine.autocast():
            latents: Tensor = self.encoder(pictures)
        return latents.float()

    def loss(self, latents: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """How far off the pictures of slightly noisy latents are."""
        with self.machine.autocast():
            output: Tensor = self.decoder(latents + LATENT_NOISE * torch.randn_like(latents))
        output = output.float()
        return picture_loss(output, target), {"decibels": decibels(output.detach(), target)}


def train_autoencoder(
    model: AutoencoderTiny, pictures: Pixels, state: Path, steps: int, batch: int, machine: Machine, seed: int = 0
) -> AutoencoderTiny:
    """Encoder and decoder together. Half of the crops are mirrored; a little noise keeps the latents robust."""
    painter = Painter(model, machine)

    def lesson(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        rng = np.random.default_rng([seed, step])
        chosen = crops(pictures, places(pictures, batch, rng))
        mirrored = rng.random(batch) < 0.5
        chosen[mirrored] = chosen[mirrored][:, :, ::-1]
        target = to_tensor(chosen, machine.device)
        latents = painter.encode(target)
        loss, figures = painter.loss(latents, target)
        spread = (latents.square().mean() - 1).abs() + latents.mean((0, 2, 3)).square().mean()
        return loss + 0.01 * spread, figures | {"std": latents.detach().std()}

    course = Course("autoencoder", steps, 1.2e-3, weight_decay=1e-4)
    learn(course, [model], lesson, state, machine, seed)
    return model


def train_decoder(
    model: AutoencoderTiny,
    latents: Tensor,
    pictures: Pixels,
    state: Path,
    steps: int,
    batch: int,
    machine: Machine,
    seed: int = 5,
) -> AutoencoderTiny:
    """Goes on with the decoder alone: the latents stay as the denoiser knows them, the pictures get sharper.

    `latents` are those of `pictures`, and of more after them perhaps.
    """
    painter, side = Painter(model, machine), CROP // CELL

    def lesson(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        chosen = places(pictures, batch, np.random.default_rng([seed, step]))
        target = to_tensor(crops(pictures, chosen), machine.device)
        known = torch.stack([latents[i, :, top : top + side, left : left + side] for i, top, left in chosen])
        return painter.loss(known.to(machine.device).float(), target)

    course = Course("decoder", steps, 1e-3, warmup=50, weight_decay=1e-4)
    learn(course, [model.decoder], lesson, state, machine, seed)
    return model


def train_encoder(
    model: AutoencoderTiny, pictures: Pixels, state: Path, steps: int, batch: int, machine: Machine, seed: int = 6
) -> AutoencoderTiny:
    """Goes on with the encoder alone, for pictures unlike those it learned from: the decoder can show more of their
    colours than the encoder asks for. The new latents stay near the old ones, which the denoiser knows.
    """
    model.requires_grad_(False)
    model.encoder.requires_grad_(True)
    painter = Painter(model, machine)
    before = copy.deepcopy(model.encoder)

    def lesson(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        chosen = places(pictures, batch, np.random.default_rng([seed, step]))
        target = to_tensor(crops(pictures, chosen), machine.device)
        with torch.no_grad(), machine.autocast():
            known: Tensor = before(target)
        latents = painter.encode(target)
        loss, figures = painter.loss(latents, target)
        return loss + NEARNESS * F.mse_loss(latents, known.float()), figures

    course = Course("encoder", steps, 1e-3, warmup=20, average=0.98, weight_decay=1e-4)
    learn(course, [model.encoder], lesson, state, machine, seed)
    return model


@torch.no_grad()
def encoded(model: AutoencoderTiny, parts: Iterable[Pixels], machine: Machine) -> Tensor:
    """Latents of every picture of every part: float16 of shape (N, 4, h, w)."""
    model.to(machine.device)
    latents = []
    for part in parts:
        with machine.autocast():
            latents.append(model.encode(to_tensor(part, machine.device)).latents.half().cpu())
    return torch.cat(latents)
