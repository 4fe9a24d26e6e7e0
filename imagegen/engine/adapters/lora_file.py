"""Reads LoRA files of all tools: what they add to weights and biases, by the layers' names in the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from safetensors import SafetensorError, safe_open
from torch import Tensor

from imagegen.engine.adapters.deltas import (
    DecomposedDelta,
    Delta,
    FullDelta,
    HadamardDelta,
    KroneckerDelta,
    LowRankDelta,
    TuckerFactors,
)
from imagegen.errors import UnusableModel
from imagegen.library.lora_tensors import UnsupportedLora, group_tensors
from imagegen.library.peft_config import LoraStatements, parse_statements
from imagegen.schema.models import AdapterSource

# The tensors of one layer by their roles.
Roles = Mapping[str, Tensor]


@dataclass(frozen=True)
class LayerUpdate:
    """What is added to the weight and the bias of a layer; None if nothing is."""

    weight: Delta | None
    bias: Delta | None

    @property
    def nbytes(self) -> int:
        return sum(delta.nbytes for delta in (self.weight, self.bias) if delta is not None)


# By the names of the layers in the file.
Lora = Mapping[str, LayerUpdate]


def read_lora(source: AdapterSource) -> Lora:
    """Returns what is in a file. Raises UnusableModel for a tensor or a statement that cannot be used."""
    try:
        with safe_open(source.path, "pt") as file:
            names = group_tensors(file.keys())
            statements = parse_statements(file.metadata() or {}, source.peft_config)
            # Copies, since the file is mapped into memory, and may change on disk.
            return {
                layer: build_update(
                    layer, {role: file.get_tensor(name).clone() for role, name in tensors.items()}, statements
                )
                for layer, tensors in names.items()
            }
    except UnsupportedLora as error:
        raise UnusableModel(source.id, str(error), "loras") from None
    except (SafetensorError, OSError):
        raise UnusableModel(source.id, "it is not a complete safetensors file", "loras") from None


def build_update(layer: str, tensors: Roles, statements: LoraStatements) -> LayerUpdate:
    """Returns what the tensors of a layer add. Raises UnsupportedLora for shapes that do not go together."""
    try:
        scale = get_scale(layer, tensors, statements)
        weight = build_weight(tensors, scale)
        if weight is not None and ("dora_scale" in tensors or "magnitude" in tensors):
            weight = decompose(weight, tensors)
        bias = FullDelta(tensors["diff_b"]) if "diff_b" in tensors else None
        if "up_bias" in tensors:
            bias = FullDelta(tensors["up_bias"].float() * scale)
    except (IndexError, RuntimeError, ZeroDivisionError):
        raise UnsupportedLora(f"the shapes of its tensors for {layer} do not go together") from None
    return LayerUpdate(weight, bias)


def get_scale(layer: str, tensors: Roles, statements: LoraStatements) -> float:
    """Returns the factor of what a layer's tensors give: alpha / rank, or what the file says in PEFT's terms.

    Raises UnsupportedLora if both are there and differ.
    """
    rank = get_rank(tensors)
    by_alpha = float(tensors["alpha"].item()) / rank if "alpha" in tensors and rank is not None else None
    found = statements.find(layer)
    if found is None or rank is None or "down" not in tensors:
        return 1.0 if by_alpha is None else by_alpha
    config, name = found
    by_config = config.get_scale(name, rank)
    if by_alpha is not None and abs(by_alpha - by_config) > 1e-3 * abs(by_config):
        raise UnsupportedLora(f"{config.source} and {layer}.alpha say different things")
    return by_config


def get_rank(tensors: Roles) -> int | None:
    """Returns the number by which alpha is divided; None for what has no rank: alpha has no effect on it."""
    roles = ("down", "hada_w1_b", "lokr_w1_b", "lokr_w2_b")
    return next((tensors[role].shape[0] for role in roles if role in tensors), None)


def build_weight(tensors: Roles, scale: float) -> Delta | None:
    """Returns what is added to a layer's weight, without its magnitude."""
    match tensors:
        case {"down": down, "up": up}:
            down = down if "mid" not in tensors else fold_middle(tensors["mid"], down)
            if up.flatten(1).shape[1] != down.shape[0]:
                raise IndexError
            return LowRankDelta(down, up, scale)
        case {"hada_w1_a": a1, "hada_w1_b": b1, "hada_w2_a": a2, "hada_w2_b": b2}:
            first, second = (
                TuckerFactors(a, b, tensors.get(core)) for a, b, core in ((a1, b1, "hada_t1"), (a2, b2, "hada_t2"))
            )
            if first.shape != second.shape:
                raise IndexError
            return HadamardDelta(first, second, scale)
        case {"lokr_w1": _} | {"lokr_w1_a": _}:
            return KroneckerDelta(read_half(tensors, "lokr_w1"), read_half(tensors, "lokr_w2", "lokr_t2"), scale)
        case {"diff": difference}:
            return FullDelta(difference)
    return None


def read_half(tensors: Roles, name: str, core: str = "") -> Tensor | TuckerFactors:
    """Returns one half of a Kronecker product: a matrix, or its factors."""
    if name in tensors:
        return tensors[name]
    return TuckerFactors(tensors[f"{name}_a"], tensors[f"{name}_b"], tensors.get(core))


def fold_middle(middle: Tensor, down: Tensor) -> Tensor:
    """Returns `middle`, of shape (rank, rank, height, width), times `down`, as a down projection with its kernel."""
    return (middle.float().permute(0, 2, 3, 1) @ down.float().flatten(1)).permute(0, 3, 1, 2)


def decompose(direction: Delta, tensors: Roles) -> DecomposedDelta:
    """Returns a delta with the magnitudes of DoRA: PEFT's are per output, LyCORIS' have one side of length 1."""
    outputs, columns = direction.shape
    if "magnitude" in tensors:
        magnitude, per_input = tensors["magnitude"].flatten(), False
    else:
        scale = tensors["dora_scale"]
        per_input = scale.dim() > 1 and scale.shape[0] == 1 and outputs != 1
        magnitude = scale.flatten()
    is_whole = columns % len(magnitude) == 0 if per_input else len(magnitude) == outputs
    if not is_whole:
        raise IndexError
    return DecomposedDelta(direction, magnitude, per_input)
