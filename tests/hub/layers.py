"""The layers of a saved model that a LoRA changes, and the strength of the change."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from safetensors import safe_open

RANK = 4
ATTENTION = re.compile(r"\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)\.weight$")
TEXT_LAYERS = re.compile(r"\.([qkv]_proj|out_proj|fc[12])\.weight$")

# (outputs, inputs)
Shape = tuple[int, int]


def pipeline_class(folder: Path) -> str:
    name: str = json.loads((folder / "model_index.json").read_text())["_class_name"]
    return name


def denoiser(folder: Path) -> tuple[str, dict[str, Shape]]:
    """Returns the name of the denoiser's component, and its attention layers by name."""
    part = "unet" if (folder / "unet").is_dir() else "transformer"
    return part, layers(folder / part / "diffusion_pytorch_model.safetensors", ATTENTION)


def text_encoder(folder: Path) -> dict[str, Shape]:
    """Returns layers by names that begin with `text_model`, as in LoRAs, whether or not the model's names do."""
    layers_by_name = layers(folder / "model.safetensors", TEXT_LAYERS)
    return {f"text_model.{name.removeprefix('text_model.')}": shape for name, shape in layers_by_name.items()}


def layers(file: Path, kind: re.Pattern[str]) -> dict[str, Shape]:
    with safe_open(file, "pt") as weights:
        names = [name for name in weights.keys() if kind.search(name)]  # noqa: SIM118
        return {name.removesuffix(".weight"): tuple(weights.get_slice(name).get_shape()) for name in names}


def pair(shape: Shape, strength: float, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns down and up matrices. `strength` is an output's standard deviation for inputs of deviation 1."""
    outputs, inputs = shape
    down = torch.randn(RANK, inputs, generator=generator) / inputs**0.5
    up = torch.randn(outputs, RANK, generator=generator) * strength / RANK**0.5
    return down, up
