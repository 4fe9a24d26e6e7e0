"""Reads a ControlNet from disk. Each tensor of its file has its place in the network, or the file is refused."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from safetensors.torch import load_file
from torch import Tensor, nn

from imagegen.engine.controls.configs import CONFIG_BY_ARCHITECTURE
from imagegen.engine.models.safe_configs import remove_code
from imagegen.errors import ModelLoadFailed
from imagegen.library.controlnet_architectures import ORIGINAL_PREFIX, is_original_format
from imagegen.library.controlnets import CONFIG_FILE, has_config
from imagegen.schema.models import AdapterSource
from imagegen.text import hide_paths, truncate

logger = logging.getLogger(__name__)

READ_ERRORS = (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, RecursionError)


def load_controlnet(source: AdapterSource, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Returns the network of a ControlNet on a device. Raises ModelLoadFailed."""
    try:
        return build_controlnet(source, device, dtype)
    except READ_ERRORS as error:
        facts = {"action": "controlnet_broken", "controlnet": source.id}
        logger.warning("A ControlNet cannot be loaded", exc_info=error, extra=facts)
        problem = truncate(hide_paths(" ".join(str(error).split())), 300)
        raise ModelLoadFailed(source.name, problem) from None


def build_controlnet(source: AdapterSource, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Raises ValueError for tensors without a place, and what safetensors and diffusers raise."""
    weights = load_file(source.path)
    config = read_config(source.path, source.architecture)
    if is_original_format({name: tuple(each.shape) for name, each in weights.items()}):
        weights = convert_names(weights, config)
    with torch.device("meta"):
        network: nn.Module = ControlNetModel.from_config(config)
    check_tensors(weights, network)
    network.load_state_dict({name: each.to(device, dtype) for name, each in weights.items()}, assign=True)
    return network.eval().requires_grad_(requires_grad=False)


def read_config(weights: Path, architecture: str) -> dict[str, Any]:
    """Returns the configuration beside a file of weights, else that of its architecture. Raises ValueError."""
    if not has_config(weights):
        if architecture not in CONFIG_BY_ARCHITECTURE:
            raise ValueError(f"it needs a {CONFIG_FILE} beside it")
        return dict(CONFIG_BY_ARCHITECTURE[architecture])
    config: dict[str, Any] = remove_code(json.loads((weights.parent / CONFIG_FILE).read_bytes()))
    if config.get("_class_name", "ControlNetModel") != "ControlNetModel":
        raise ValueError(f"it is a {truncate(str(config['_class_name']))}, which is not supported yet")
    return config


def convert_names(weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Returns the tensors of a file in the original format by their names in diffusers.

    Raises ValueError for a tensor that has none.
    """
    with torch.device("meta"):
        full_config = ControlNetModel.from_config(config).config
    named = {ORIGINAL_PREFIX + name.removeprefix(ORIGINAL_PREFIX): each for name, each in weights.items()}
    found = convert_controlnet_checkpoint(named, full_config)
    converted: dict[str, Tensor] = {name: each for name, each in found.items() if each is not None}
    used = {each.data_ptr() for each in converted.values()}
    unused = next((name for name, each in weights.items() if each.data_ptr() not in used), None)
    if unused is not None:
        raise ValueError(f"its tensor {truncate(unused)} has no place in its network")
    return converted


def check_tensors(weights: Mapping[str, Tensor], network: nn.Module) -> None:
    """Raises ValueError unless the file has exactly the tensors of the network."""
    expected = {name: each.shape for name, each in network.state_dict().items()}
    for name, tensor in weights.items():
        if name not in expected:
            raise ValueError(f"its tensor {truncate(name)} has no place in its network")
        if tensor.shape != expected[name]:
            raise ValueError(f"its tensor {truncate(name)} has another shape than its configuration says")
    missing = next((name for name in expected if name not in weights), None)
    if missing is not None:
        raise ValueError(f"it has no tensor {missing}")
