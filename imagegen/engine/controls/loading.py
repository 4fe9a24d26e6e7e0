"""Reads a ControlNet from disk, and shares its calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from torch import Tensor, nn

from imagegen.engine.adapters.merge import WeightPatcher
from imagegen.engine.batching.collate import NetworkOutput
from imagegen.engine.batching.network import BatchedNetwork
from imagegen.engine.compile.accelerator import Accelerator
from imagegen.engine.controls.configs import CONFIG_BY_ARCHITECTURE
from imagegen.engine.controls.kinds import CONTROLNET_KINDS, get_kind
from imagegen.engine.models.network_cache import NetworkKind
from imagegen.engine.models.network_files import check_converted, read_weights
from imagegen.engine.models.safe_configs import remove_code
from imagegen.library.controlnet_architectures import (
    ORIGINAL_PREFIX,
    UNION_MARK,
    Shapes,
    detect_network_class,
    is_original_format,
)
from imagegen.library.network_index import CONFIG_FILE, has_config, read_network_config
from imagegen.schema.models import AdapterSource
from imagegen.text import truncate

UNET_CLASS, UNION_CLASS = "ControlNetModel", "ControlNetUnionModel"


def read_controlnet(source: AdapterSource) -> tuple[nn.Module, Mapping[str, Tensor]]:
    """Returns a network without memory, and its weights.

    Raises ValueError, and what safetensors and diffusers raise.
    """
    weights: Mapping[str, Tensor] = read_weights(source.path)
    shapes = {name: tuple(each.shape) for name, each in weights.items()}
    class_name = detect_network_class(shapes)
    network_class: Any = CONTROLNET_KINDS[class_name].network_class
    with torch.device("meta"):
        network: Any = network_class.from_config(read_config(source, class_name, shapes))
    if is_original_format(shapes):
        named = {ORIGINAL_PREFIX + name.removeprefix(ORIGINAL_PREFIX): each for name, each in weights.items()}
        weights = check_converted(weights, convert_controlnet_checkpoint(named, network.config))
    return network, weights


def read_config(source: AdapterSource, class_name: str, shapes: Shapes) -> dict[str, Any]:
    """Returns the configuration beside the weights, else that of the architecture. Raises ValueError.

    Configurations of union ControlNets often name another class, and do not say how many types there are.
    """
    config: dict[str, Any]
    if has_config(source.path):
        config = remove_code(read_network_config(source.path))
        expected = (class_name, UNET_CLASS, None) if class_name == UNION_CLASS else (class_name, None)
        if config.get("_class_name") not in expected:
            raise ValueError(f"its {CONFIG_FILE} says {truncate(str(config['_class_name']))} instead of {class_name}")
    elif source.architecture in CONFIG_BY_ARCHITECTURE:
        config = dict(CONFIG_BY_ARCHITECTURE[source.architecture])
    else:
        raise ValueError(f"it needs a {CONFIG_FILE} beside it")
    if class_name == UNION_CLASS:
        config |= {"_class_name": UNION_CLASS, "num_control_type": shapes[UNION_MARK][0]}
    return config


def share_controlnet(network: nn.Module) -> BatchedNetwork | None:
    """Returns the network with batched calls, whose output is a tuple of features.

    None for one that needs parts of a denoiser: see `share_with_denoiser`.
    """
    return None if get_kind(network).needs_denoiser(network) else batch_calls(network)


def share_with_denoiser(network: nn.Module, denoiser: nn.Module, patcher: WeightPatcher) -> BatchedNetwork:
    """Returns a network that needs parts of a denoiser, with them, with batched calls.

    `patcher` merges LoRAs into the denoiser, and so into these parts.
    """
    return batch_calls(get_kind(network).complete(network, denoiser), patcher)


def batch_calls(network: nn.Module, patcher: WeightPatcher | None = None) -> BatchedNetwork:
    kind = get_kind(network)

    def forward(**arguments: object) -> NetworkOutput:
        return kind.flatten_output(network(**arguments))

    accelerator = Accelerator(forward, network, "forward", None, kind.batch_rules)
    return BatchedNetwork(kind.parameter_names, accelerator, kind.batch_rules, patcher, precedes_denoiser=True)


CONTROLNETS = NetworkKind(read_controlnet, share_controlnet)
