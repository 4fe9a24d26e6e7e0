"""Reads a network beside a model from disk, such as a ControlNet or a VAE.

Each tensor of its file has its place in the network, or the file is refused.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from imagegen.errors import ModelLoadFailed
from imagegen.library.shards import list_parts
from imagegen.schema.models import AdapterSource
from imagegen.text import hide_paths, truncate

logger = logging.getLogger(__name__)

READ_ERRORS = (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, RecursionError)
# The names of attention layers before diffusers 0.18; many VAEs on the Hub have them.
OLD_ATTENTION_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
OLD_ATTENTION_PATTERN = re.compile(rf"(?<=\.attentions\.\d\.)({'|'.join(OLD_ATTENTION_NAMES)})(?=\.)")
# Returns a network without memory (on the device "meta") and its weights by their names there.
NetworkReader = Callable[[AdapterSource], tuple[nn.Module, Mapping[str, Tensor]]]


def load_network(source: AdapterSource, read: NetworkReader, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Returns a network on a device. Raises ModelLoadFailed."""
    try:
        network, weights = read(source)
        check_tensors(weights, network)
        network.load_state_dict({name: each.to(device, dtype) for name, each in weights.items()}, assign=True)
    except READ_ERRORS as error:
        facts = {"action": "network_broken", "kind": source.kind, "network": source.id}
        logger.warning("A network cannot be loaded", exc_info=error, extra=facts)
        problem = truncate(hide_paths(" ".join(str(error).split())), 300)
        raise ModelLoadFailed(source.name, problem) from None
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(requires_grad=False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a file, or of all files in an index. Raises OSError, ValueError and SafetensorError."""
    return {name: tensor for part in list_parts(path) for name, tensor in load_file(part).items()}


def rename_attention(name: str) -> str:
    """Returns the name of a tensor as diffusers has it today."""
    return OLD_ATTENTION_PATTERN.sub(lambda match: OLD_ATTENTION_NAMES[match[1]], name)


def check_converted(weights: Mapping[str, Tensor], converted: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """Returns the tensors of a file by their names in diffusers, to which they were converted.

    Raises ValueError for a tensor that has none.
    """
    found = {name: each for name, each in converted.items() if each is not None}
    used = {each.data_ptr() for each in found.values()}
    unused = next((name for name, each in weights.items() if each.data_ptr() not in used), None)
    if unused is not None:
        raise ValueError(f"its tensor {truncate(unused)} has no place in its network")
    return found


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
