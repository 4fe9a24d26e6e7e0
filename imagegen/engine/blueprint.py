"""What has to be known of a network, and of a call of it, to compile it somewhere else. It goes as JSON."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import diffusers
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from imagegen.engine.joining import Arguments

Method = Literal["forward", "decode"]


@dataclass(frozen=True)
class Blueprint:
    """A class of diffusers with its configuration, and the shapes and types of what one of its methods is called with.

    `weights` is where its weights are and how they lie.
    """

    kind: str
    config: dict[str, Any]
    method: Method
    weights: dict[str, Any]
    arguments: dict[str, Any]

    @property
    def digest(self) -> str:
        """Another version of torch, or another GPU, is another network."""
        gpu = torch.cuda.get_device_name() if self.weights["device"] == "cuda" else ""
        facts = json.dumps([asdict(self), torch.__version__, diffusers.__version__, gpu])
        return hashlib.sha256(facts.encode()).hexdigest()[:32]


def blueprint(network: Any, method: Method, arguments: Arguments) -> Blueprint:
    weight = next(parameter for parameter in network.parameters() if parameter.ndim > 1)
    planes = [parameter for parameter in network.parameters() if parameter.ndim == 4 and parameter.shape[1] > 1]
    last = any(not plane.is_contiguous() for plane in planes)
    weights = {"device": weight.device.type, "dtype": str(weight.dtype).removeprefix("torch."), "channels_last": last}
    config = {name: value for name, value in network.config.items() if not name.startswith("_")}
    plain: dict[str, Any] = json.loads(json.dumps(config, default=str))
    return Blueprint(type(network).__name__, plain, method, weights, tree_map(described, dict(arguments)))


def built(plan: Blueprint) -> tuple[nn.Module, dict[str, Any]]:
    """Such a network, with whatever numbers there are in the memory, and such arguments."""
    dtype, device = getattr(torch, plan.weights["dtype"]), torch.device(plan.weights["device"])
    torch.set_default_dtype(dtype)
    with device:
        network: nn.Module = getattr(diffusers, plan.kind).from_config(plan.config)
    torch.set_default_dtype(torch.float32)
    network.eval().requires_grad_(requires_grad=False)
    if plan.weights["channels_last"]:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    found = tree_map(lambda each: rebuilt(each, device), plan.arguments, is_leaf=is_described)
    return network, found


def described(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return {"tensor": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}


def is_described(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"tensor", "dtype"}


def rebuilt(value: Any, device: torch.device) -> Any:
    if not is_described(value):
        return value
    return torch.ones(value["tensor"], dtype=getattr(torch, value["dtype"]), device=device)


class Asked(nn.Module):
    """One method of a network as a function of tensors alone: of all that are in its arguments, in their order."""

    def __init__(self, network: Any, method: Method, arguments: Arguments) -> None:
        super().__init__()
        self.network, self.method = network, method
        self.leaves, self.tree = tree_flatten(dict(arguments))

    def forward(self, tensors: list[Tensor]) -> Any:
        given = iter(tensors)
        leaves = [next(given) if isinstance(leaf, Tensor) else leaf for leaf in self.leaves]
        options = tree_unflatten(leaves, self.tree)
        if self.method == "decode":  # As in imagegen.engine.shared.
            return self.network.decode(options.pop("latents").to(self.network.dtype), **options)
        return self.network(**options)


def tensors_of(arguments: Arguments) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(dict(arguments))[0] if isinstance(leaf, Tensor)]
