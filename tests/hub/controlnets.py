"""Tiny ControlNets with random weights, for the tiny models with a UNet."""

from __future__ import annotations

import re
import shutil
from collections.abc import Container
from pathlib import Path

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from tests.hub.builders import amplify_parts
from tests.hub.single_file import renamed, unet_name

# The names of the original format, besides those that it shares with the UNet of a whole model in one file.
ORIGINAL_NAMES = (
    (r"^controlnet_cond_embedding\.conv_in\.", "input_hint_block.0."),
    (r"^controlnet_cond_embedding\.conv_out\.", "input_hint_block.14."),
    (r"^controlnet_down_blocks\.(\d+)\.", r"zero_convs.\1.0."),
    (r"^controlnet_mid_block\.", "middle_block_out.0."),
)


def write_original(folder: Path, file: Path, **extra: torch.Tensor) -> None:
    """Writes a ControlNet in diffusers format to one file, as its inventors did, with its configuration beside it."""
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    file.parent.mkdir(parents=True)
    save_file({name_original(name, weights): each for name, each in weights.items()} | extra, file)
    shutil.copyfile(folder / "config.json", file.parent / "config.json")


def name_original(name: str, names: Container[str]) -> str:
    block = re.match(r"controlnet_cond_embedding\.blocks\.(\d+)\.(.*)", name)
    if block is not None:
        return f"control_model.input_hint_block.{2 * int(block[1]) + 2}.{block[2]}"
    new = renamed(name, ORIGINAL_NAMES)
    return f"control_model.{unet_name(name, names) if new == name else new}"


def save_controlnet(model: Path, folder: Path, seed: int = 5) -> None:
    """Saves a ControlNet for a model's UNet in diffusers format. It changes pictures clearly."""
    unet = UNet2DConditionModel.from_pretrained(model / "unet", dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = amplify_parts(ControlNetModel.from_unet(unet), factor=1)
    network.half().save_pretrained(folder)
