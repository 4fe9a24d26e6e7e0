"""Reads the weights of a single-file checkpoint, by their usual names."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from imagegen.library.checkpoint_names import MARKERS, carries_nothing, map_names
from imagegen.library.checkpoint_tensors import find_scales, is_scale
from imagegen.library.weight_files import read_header


def read_weights(file: Path, dtype: torch.dtype) -> dict[str, Tensor]:
    """Returns the tensors of the networks in `dtype`. Weights in fp8 are multiplied by their scales.

    Raises OSError, ValueError and what safetensors raises.
    """
    header = read_header(file)
    scales = find_scales(header)
    scale_by_weight = {weight: scale for scale, weight in scales.items()}
    weights = {}
    with safe_open(file, "pt") as tensors:
        for name, usual in map_names(header.shapes).items():
            if usual in MARKERS or carries_nothing(usual) or is_scale(name, scales):
                continue
            weight: Tensor = tensors.get_tensor(name)
            if name in scale_by_weight:
                weight = apply_scale(weight, tensors.get_tensor(scale_by_weight[name]))
            weights[usual] = weight.to(dtype)
    return weights


def apply_scale(weight: Tensor, scale: Tensor) -> Tensor:
    """Returns weights of shape (outputs, …) in float32, multiplied by one number or by one for each output."""
    return weight.float() * scale.float().reshape(-1, *[1] * (weight.ndim - 1))


def read_tensors(file: Path, *names: str) -> dict[str, Tensor]:
    """Returns those of the named tensors that a file has. Raises what safetensors raises."""
    found = [name for name in names if name in read_header(file).shapes]
    with safe_open(file, "pt") as tensors:
        return {name: tensors.get_tensor(name) for name in found}
