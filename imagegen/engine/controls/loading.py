"""Reads a ControlNet from disk, and shares its calls."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import ControlNetModel
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from safetensors.torch import load_file
from torch import Tensor, nn

from imagegen.engine.batching.collate import DEFAULT_RULES, NetworkOutput
from imagegen.engine.batching.network import BatchedNetwork
from imagegen.engine.compile.accelerator import Accelerator
from imagegen.engine.controls.configs import CONFIG_BY_ARCHITECTURE
from imagegen.engine.models.network_cache import NetworkKind
from imagegen.engine.models.network_files import check_converted
from imagegen.engine.models.safe_configs import remove_code
from imagegen.library.controlnet_architectures import ORIGINAL_PREFIX, is_original_format
from imagegen.library.network_index import CONFIG_FILE, has_config, read_network_config
from imagegen.schema.models import AdapterSource
from imagegen.text import truncate

PARAMETER_NAMES = tuple(inspect.signature(ControlNetModel.forward).parameters)[1:]


def read_controlnet(source: AdapterSource) -> tuple[nn.Module, Mapping[str, Tensor]]:
    """Returns a network without memory, and its weights.

    Raises ValueError, and what safetensors and diffusers raise.
    """
    weights: Mapping[str, Tensor] = load_file(source.path)
    config = read_config(source)
    with torch.device("meta"):
        network: Any = ControlNetModel.from_config(config)
    if is_original_format({name: tuple(each.shape) for name, each in weights.items()}):
        named = {ORIGINAL_PREFIX + name.removeprefix(ORIGINAL_PREFIX): each for name, each in weights.items()}
        weights = check_converted(weights, convert_controlnet_checkpoint(named, network.config))
    return network, weights


def read_config(source: AdapterSource) -> dict[str, Any]:
    """Returns the configuration beside the weights, else that of the architecture. Raises ValueError."""
    if not has_config(source.path):
        if source.architecture not in CONFIG_BY_ARCHITECTURE:
            raise ValueError(f"it needs a {CONFIG_FILE} beside it")
        return dict(CONFIG_BY_ARCHITECTURE[source.architecture])
    config: dict[str, Any] = remove_code(read_network_config(source.path))
    if config.get("_class_name", "ControlNetModel") != "ControlNetModel":
        raise ValueError(f"it is a {truncate(str(config['_class_name']))}, which is not supported yet")
    return config


def share_controlnet(network: nn.Module) -> BatchedNetwork:
    """Returns the network with batched calls. Their output is a tuple of features, with the innermost last."""

    def forward(**arguments: object) -> NetworkOutput:
        down, mid = network(**arguments)
        return (*down, mid)

    accelerator = Accelerator(forward, network, "forward", None, DEFAULT_RULES)
    return BatchedNetwork(PARAMETER_NAMES, accelerator, DEFAULT_RULES, precedes_denoiser=True)


CONTROLNETS = NetworkKind(read_controlnet, share_controlnet)
