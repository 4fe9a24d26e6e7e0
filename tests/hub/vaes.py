"""Tiny VAEs with random weights, for the tiny models."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors.torch import load_file, save_file

from tests.hub import autoencoders, single_file
from tests.hub.builders import amplify_parts

WEIGHTS = "diffusion_pytorch_model.safetensors"
# The names of attention layers in older versions of diffusers.
OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def save_vae(folder: Path, seed: int = 9, **config: Any) -> None:
    """Saves a VAE in diffusers format. Its pictures differ clearly from those of the tiny models' own."""
    settings: dict[str, Any] = {**autoencoders.THIN, "latent_channels": 4, "scaling_factor": 0.18215, **config}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = autoencoders.contrasted(AutoencoderKL(**settings))
    network.half().save_pretrained(folder)


def save_tiny_vae(folder: Path, seed: int = 9, **config: Any) -> None:
    """Saves an AutoencoderTiny, such as taesd, in diffusers format."""
    sides: dict[str, Any] = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = amplify_parts(AutoencoderTiny(**{**sides, **config}), factor=1)
    network.half().save_pretrained(folder)


def write_original(folder: Path, file: Path, prefix: str = "", extra: Mapping[str, torch.Tensor] | None = None) -> None:
    """Writes a VAE in diffusers format to one file with the original names, with its configuration beside it."""
    weights = single_file.autoencoder(AutoencoderKL.from_pretrained(folder, dtype=torch.float16))
    file.parent.mkdir(parents=True)
    save_file({prefix + name: each.contiguous() for name, each in weights.items()} | dict(extra or {}), file)
    shutil.copyfile(folder / "config.json", file.parent / "config.json")


def write_old_names(folder: Path, target: Path) -> None:
    """Writes a VAE as older versions of diffusers did."""
    shutil.copytree(folder, target)
    pattern = re.compile(rf"(?<=attentions\.0\.)({'|'.join(map(re.escape, OLD_NAMES))})(?=\.)")
    weights = load_file(folder / WEIGHTS)
    save_file(
        {pattern.sub(lambda match: OLD_NAMES[match[1]], name): each for name, each in weights.items()}, target / WEIGHTS
    )


def tint_vae(folder: Path, target: Path, **config: Any) -> None:
    """Writes an AutoencoderTiny whose pictures have more red and less blue, with changes of its configuration."""
    shutil.copytree(folder, target)
    weights = load_file(folder / WEIGHTS)
    (bias,) = [
        name for name in weights if re.fullmatch(r"decoder\.layers\.\d+\.bias", name) and len(weights[name]) == 3
    ]
    weights[bias] += torch.tensor([0.2, 0.0, -0.2], dtype=weights[bias].dtype)
    save_file(weights, target / WEIGHTS)
    settings = json.loads((folder / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(settings | config))
