"""The autoencoder, an AutoencoderTiny: from pixels to latents of 4 channels with an eighth of the side, and back."""

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
from training.loop import TrainingSchedule, run_training
from training.machine import Machine

CELL = 8
CROP = 64
LATENT_NOISE = 0.05
NEARNESS = 0.03
CropPositions = list[tuple[int, int, int]]


def new_autoencoder(width: int) -> AutoencoderTiny:
    """Returns an untrained autoencoder; `width` is the number of channels of its blocks."""
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


def sample_positions(pictures: Pixels, count: int, rng: np.random.Generator) -> CropPositions:
    """Returns positions of random crops: index of the picture, and top and left in latent pixels."""
    latent_range = (pictures.shape[1] - CROP) // CELL + 1
    return [
        (int(rng.integers(len(pictures))), int(rng.integers(latent_range)), int(rng.integers(latent_range)))
        for _ in range(count)
    ]


def crop_pictures(pictures: Pixels, positions: CropPositions) -> Pixels:
    """Returns crops of CROP pixels a side: uint8 of shape (N, CROP, CROP, 3)."""
    parts = []
    for index, row, column in positions:
        top, left = row * CELL, column * CELL
        parts.append(pictures[index, top : top + CROP, left : left + CROP])
    return np.stack(parts)


def to_tensor(pictures: Pixels, device: torch.device | None = None) -> Tensor:
    """Converts uint8 pictures of shape (N, h, w, 3) to float32 of shape (N, 3, h, w) in -1..1."""
    tensor = torch.from_numpy(np.ascontiguousarray(pictures)).to(device).permute(0, 3, 1, 2)
    return tensor.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def gradient_loss(output: Tensor, target: Tensor) -> Tensor:
    """Returns the mean error of the differences of neighbouring pixels, which keeps edges sharp."""
    across = (output[..., 1:] - output[..., :-1]) - (target[..., 1:] - target[..., :-1])
    down = (output[..., 1:, :] - output[..., :-1, :]) - (target[..., 1:, :] - target[..., :-1, :])
    return across.abs().mean() + down.abs().mean()


def picture_loss(output: Tensor, target: Tensor) -> Tensor:
    """Returns the reconstruction loss: absolute, squared and gradient error."""
    error = output - target
    return error.abs().mean() + 2 * error.square().mean() + 0.5 * gradient_loss(output, target)


def decibels(output: Tensor, target: Tensor) -> Tensor:
    """Returns the peak signal-to-noise ratio of pictures in -1..1, in dB."""
    return 10 * torch.log10(4 / F.mse_loss(output, target))


class AutoencoderTrainer:
    """An autoencoder in training on a machine."""

    def __init__(self, model: AutoencoderTiny, machine: Machine) -> None:
        self.machine = machine
        self.model = model.to(machine.device, memory_format=torch.channels_last)
        self.encoder, self.decoder = machine.compile(model.encoder), machine.compile(model.decoder)

    def encode(self, pictures: Tensor) -> Tensor:
        """Returns the latents of pictures, in float32."""
        with self.machine.autocast():
            latents: Tensor = self.encoder(pictures)
        return latents.float()

    def loss(self, latents: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the reconstruction loss from latents with a little noise, and figures for the log."""
        with self.machine.autocast():
            output: Tensor = self.decoder(latents + LATENT_NOISE * torch.randn_like(latents))
        output = output.float()
        return picture_loss(output, target), {"decibels": decibels(output.detach(), target)}


def train_autoencoder(
    model: AutoencoderTiny, pictures: Pixels, state: Path, steps: int, batch: int, machine: Machine, seed: int = 0
) -> AutoencoderTiny:
    """Trains encoder and decoder together. Half of the crops are mirrored; a little noise makes the latents robust."""
    trainer = AutoencoderTrainer(model, machine)

    def compute_loss(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        rng = np.random.default_rng([seed, step])
        chosen = crop_pictures(pictures, sample_positions(pictures, batch, rng))
        mirrored = rng.random(batch) < 0.5
        chosen[mirrored] = chosen[mirrored][:, :, ::-1]
        target = to_tensor(chosen, machine.device)
        latents = trainer.encode(target)
        loss, figures = trainer.loss(latents, target)
        spread = (latents.square().mean() - 1).abs() + latents.mean((0, 2, 3)).square().mean()
        return loss + 0.01 * spread, figures | {"std": latents.detach().std()}

    training_schedule = TrainingSchedule("autoencoder", steps, 1.2e-3, weight_decay=1e-4)
    run_training(training_schedule, [model], compute_loss, state, machine, seed)
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
    """Trains the decoder alone, for sharper pictures; the latents stay those that the denoiser was trained on.

    `latents` belong to `pictures`, in their order, and may have more entries at the end.
    """
    trainer, side = AutoencoderTrainer(model, machine), CROP // CELL

    def compute_loss(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        positions = sample_positions(pictures, batch, np.random.default_rng([seed, step]))
        target = to_tensor(crop_pictures(pictures, positions), machine.device)
        batch_latents = torch.stack([latents[i, :, top : top + side, left : left + side] for i, top, left in positions])
        return trainer.loss(batch_latents.to(machine.device).float(), target)

    training_schedule = TrainingSchedule("decoder", steps, 1e-3, warmup=50, weight_decay=1e-4)
    run_training(training_schedule, [model.decoder], compute_loss, state, machine, seed)
    return model


def train_encoder(
    model: AutoencoderTiny, pictures: Pixels, state: Path, steps: int, batch: int, machine: Machine, seed: int = 6
) -> AutoencoderTiny:
    """Trains the encoder alone on pictures of a new style, whose colours the decoder can show and the encoder grays.

    The new latents stay near the old ones, which the denoiser was trained on.
    """
    model.requires_grad_(False)
    model.encoder.requires_grad_(True)
    trainer = AutoencoderTrainer(model, machine)
    before = copy.deepcopy(model.encoder)

    def compute_loss(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        positions = sample_positions(pictures, batch, np.random.default_rng([seed, step]))
        target = to_tensor(crop_pictures(pictures, positions), machine.device)
        with torch.no_grad(), machine.autocast():
            old_latents: Tensor = before(target)
        latents = trainer.encode(target)
        loss, figures = trainer.loss(latents, target)
        return loss + NEARNESS * F.mse_loss(latents, old_latents.float()), figures

    training_schedule = TrainingSchedule("encoder", steps, 1e-3, warmup=20, average=0.98, weight_decay=1e-4)
    run_training(training_schedule, [model.encoder], compute_loss, state, machine, seed)
    return model


@torch.no_grad()
def encode_pictures(model: AutoencoderTiny, parts: Iterable[Pixels], machine: Machine) -> Tensor:
    """Returns the latents of all pictures: float16 of shape (N, 4, h, w)."""
    model.to(machine.device)
    latents = []
    for part in parts:
        with machine.autocast():
            latents.append(model.encode(to_tensor(part, machine.device)).latents.half().cpu())
    return torch.cat(latents)
