"""Tiny ControlNets with random weights, for the tiny models."""

from __future__ import annotations

import inspect
import json
import re
import shutil
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    ControlNetModel,
    ControlNetUnionModel,
    FluxControlNetModel,
    SD3ControlNetModel,
    UNet2DConditionModel,
    ZImageControlNetModel,
)
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
    save(lambda: ControlNetModel.from_unet(unet), folder, seed)


def save_union_controlnet(model: Path, folder: Path, types: int = 6) -> None:
    """Saves a union ControlNet for a model's UNet. Its configuration names the class that those on the Hub name."""
    unet = UNet2DConditionModel.from_pretrained(model / "unet", dtype=torch.float32)
    width = unet.config.block_out_channels[0]

    def build() -> Any:
        config = ControlNetModel.from_unet(unet).config
        names = inspect.signature(ControlNetUnionModel).parameters.keys() & config.keys()
        sizes = {"num_trans_channel": width, "num_proj_channel": width, "num_trans_head": 2, "num_control_type": types}
        return ControlNetUnionModel(**{name: config[name] for name in names}, **sizes)

    save(build, folder, seed=5)
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"_class_name": "ControlNetModel"}))


def save_sd3_controlnet(model: Path, folder: Path, seed: int = 5, *, is_large: bool = False, **config: Any) -> None:
    """Saves a ControlNet for a Stable Diffusion 3; a large one has no layers for latents and prompts."""
    own = json.loads((model / "transformer" / "config.json").read_text())
    names = inspect.signature(SD3ControlNetModel).parameters.keys() & own.keys()
    large = {"use_pos_embed": False, "joint_attention_dim": None, "force_zeros_for_pooled_projection": False}
    options = {name: own[name] for name in names} | {"num_layers": 1} | (large if is_large else {}) | config
    save(lambda: SD3ControlNetModel(**options), folder, seed)


def save_flux_controlnet(model: Path, folder: Path, seed: int = 5, **config: Any) -> None:
    """Saves a ControlNet for a FLUX.1, with changes of its configuration."""
    own = json.loads((model / "transformer" / "config.json").read_text())
    names = inspect.signature(FluxControlNetModel).parameters.keys() & own.keys()
    options = (
        {name: own[name] for name in names} | {"in_channels": 64, "num_layers": 2, "num_single_layers": 1} | config
    )
    save(lambda: FluxControlNetModel(**options), folder, seed)


def save_z_image_controlnet(model: Path, folder: Path, seed: int = 5, **config: Any) -> None:
    """Saves a ControlNet for a Z-Image, with changes of its configuration."""
    own = json.loads((model / "transformer" / "config.json").read_text())
    sizes = {name: own[name] for name in ("dim", "n_refiner_layers", "n_heads", "n_kv_heads")}
    options = sizes | {"control_layers_places": [0], "control_in_dim": 16} | config
    save(lambda: ZImageControlNetModel(**options), folder, seed)


def save(build: Callable[[], Any], folder: Path, seed: int) -> None:
    """Saves a network with random weights in half precision."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = amplify_parts(build(), factor=1)
    network.half().save_pretrained(folder)
