"""Describes a network and a call of it as JSON, so that another process can compile it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import diffusers
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from imagegen.engine.batching.collate import Arguments
from imagegen.engine.ip_adapters.attention import add_reference_attention

Method = Literal["forward", "decode"]


@dataclass(frozen=True)
class CompileSpec:
    """A diffusers class with its configuration, a method, and the shapes and types of the method's arguments.

    `kind` is the class name; `weights` has the device, dtype and memory format.
    """

    kind: str
    config: dict[str, Any]
    method: Method
    weights: dict[str, Any]
    arguments: dict[str, Any]

    @property
    def cache_key(self) -> str:
        """A hash of this specification, of the versions of torch and diffusers, and of the GPU's name."""
        gpu = torch.cuda.get_device_name() if self.weights["device"] == "cuda" else ""
        facts = json.dumps([asdict(self), torch.__version__, diffusers.__version__, gpu])
        return hashlib.sha256(facts.encode()).hexdigest()[:32]


def build_spec(network: Any, method: Method, arguments: Arguments) -> CompileSpec:
    """Returns the specification of a network and of a call with these arguments."""
    weight = next(parameter for parameter in network.parameters() if parameter.ndim > 1)
    conv_weights = [parameter for parameter in network.parameters() if parameter.ndim == 4 and parameter.shape[1] > 1]
    is_channels_last = any(not plane.is_contiguous() for plane in conv_weights)
    weights = {
        "device": weight.device.type,
        "dtype": str(weight.dtype).removeprefix("torch."),
        "channels_last": is_channels_last,
    }
    config = {name: value for name, value in network.config.items() if not name.startswith("_")}
    json_config: dict[str, Any] = json.loads(json.dumps(config, default=str))
    return CompileSpec(type(network).__name__, json_config, method, weights, tree_map(describe_tensor, dict(arguments)))


def instantiate_network(spec: CompileSpec) -> tuple[nn.Module, dict[str, Any]]:
    """Returns a network with uninitialized weights, and arguments of ones in the same shapes."""
    dtype, device = getattr(torch, spec.weights["dtype"]), torch.device(spec.weights["device"])
    torch.set_default_dtype(dtype)
    with device:
        network: nn.Module = getattr(diffusers, spec.kind).from_config(spec.config)
    torch.set_default_dtype(torch.float32)
    add_reference_attention(network)
    network.eval().requires_grad_(requires_grad=False)
    if spec.weights["channels_last"]:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    arguments = tree_map(lambda each: create_tensor(each, device), spec.arguments, is_leaf=is_tensor_description)
    return network, arguments


def describe_tensor(value: Any) -> Any:
    """Returns shape and dtype of a tensor as JSON; other values as they are."""
    if not isinstance(value, Tensor):
        return value
    return {"tensor": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}


def is_tensor_description(value: Any) -> bool:
    """Returns whether a value is one that `describe_tensor` made of a tensor."""
    return isinstance(value, dict) and set(value) == {"tensor", "dtype"}


def create_tensor(value: Any, device: torch.device) -> Any:
    """Returns a tensor of ones for the description of a tensor; other values as they are."""
    if not is_tensor_description(value):
        return value
    return torch.ones(value["tensor"], dtype=getattr(torch, value["dtype"]), device=device)


class TensorOnlyModule(nn.Module):
    """One method of a network as a function of the tensors in its arguments, ordered as by `extract_tensors`."""

    def __init__(self, network: Any, method: Method, arguments: Arguments) -> None:
        super().__init__()
        self.network, self.method = network, method
        self.leaves, self.tree = tree_flatten(dict(arguments))

    def forward(self, tensors: list[Tensor]) -> Any:
        remaining = iter(tensors)
        leaves = [next(remaining) if isinstance(leaf, Tensor) else leaf for leaf in self.leaves]
        options = tree_unflatten(leaves, self.tree)
        if self.method == "decode":  # As in imagegen.engine.batching.proxies.
            return self.network.decode(options.pop("latents").to(self.network.dtype), **options)
        return self.network(**options)


def extract_tensors(arguments: Arguments) -> list[Tensor]:
    """Returns all tensors in nested arguments, in the order of torch's pytree."""
    return [leaf for leaf in tree_flatten(dict(arguments))[0] if isinstance(leaf, Tensor)]
