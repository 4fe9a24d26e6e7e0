"""The tensors of a LoRA file: which layer each belongs to, and what it is there.

Tools write low-rank factors (LoRA, https://arxiv.org/abs/2106.09685), and the other forms of LyCORIS
(https://github.com/KohakuBlueleaf/LyCORIS/blob/main/docs/Algo-Details.md): Hadamard products (LoHa), Kronecker products
(LoKr) and full differences. A layer may also have a magnitude (DoRA, https://arxiv.org/abs/2402.09353).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import product

Shape = tuple[int, ...]
# The names of a layer's tensors by their roles.
LayerTensors = dict[str, str]


class UnsupportedLora(ValueError):
    """The problem of a LoRA file that cannot be used: a tensor or a statement by its name."""


# The ends of tensor names, with the role of the tensor. `mid` is between `down` and `up` (Tucker decomposition).
TENSOR_ROLES = (
    (".lora_A.weight", "down"),
    (".lora_B.weight", "up"),
    (".lora_down.weight", "down"),
    (".lora_up.weight", "up"),
    (".lora_mid.weight", "mid"),
    (".alpha", "alpha"),
    (".lora.down.weight", "down"),
    (".lora.up.weight", "up"),
    (".lora_linear_layer.down.weight", "down"),
    (".lora_linear_layer.up.weight", "up"),
    (".lora_B.bias", "up_bias"),
    (".dora_scale", "dora_scale"),
    (".lora_magnitude_vector", "magnitude"),
    (".lora_magnitude_vector.weight", "magnitude"),
    (".diff", "diff"),
    (".diff_b", "diff_b"),
    (".w_norm", "diff"),
    (".b_norm", "diff_b"),
    *((f".{role}", role) for role in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")),
    *((f".{role}", role) for role in ("lokr_w1", "lokr_w1_a", "lokr_w1_b")),
    *((f".{role}", role) for role in ("lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")),
)
# PEFT may write the name of the adapter, which is "default" as a rule.
ADAPTER_NAME = re.compile(r"(?<=\.lora_A)\.[^.]+(?=\.weight$)|(?<=\.lora_B)\.[^.]+(?=\.(weight|bias)$)")
MAGNITUDE_NAME = re.compile(r"(?<=\.lora_magnitude_vector)\.[^.]+(\.weight)?$")
# Layers of old diffusers and of XLabs' tools, whose names end with "lora".
LORA_LAYER = re.compile(r"(?P<layer>.+_lora[12]?)\.(?P<role>down|up)\.weight")
# Roles that change a layer's bias.
BIAS_ROLES = frozenset({"up_bias", "diff_b"})
# What the weight of a layer may have: the roles that must be there, and those that may.
HADAMARD = frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"})
KRONECKER_FACTORS = (
    ({"lokr_w1"}, {"lokr_w1_a", "lokr_w1_b"}),
    ({"lokr_w2"}, {"lokr_w2_a", "lokr_w2_b"}, {"lokr_w2_a", "lokr_w2_b", "lokr_t2"}),
)
SCALES = frozenset({"alpha", "dora_scale"})
LOW_RANK_ROLES = frozenset({"down", "mid", "up", "alpha"})
FORMATS: tuple[tuple[frozenset[str], frozenset[str]], ...] = (
    (frozenset({"down", "up"}), SCALES | {"mid", "magnitude"}),
    (HADAMARD, SCALES),
    (HADAMARD | {"hada_t1", "hada_t2"}, SCALES),
    *((frozenset(first | second), SCALES) for first, second in product(*KRONECKER_FACTORS)),
    (frozenset({"diff"}), frozenset()),
)
# Adapters of other kinds, by a part of their tensor names.
OTHER_KINDS = ((".oft_", "OFT"), (".a1.weight", "GLoRA"), (".on_input", "IA3"), (".vera_lambda_", "VeRA"))
# Tensors that change no picture: numbers of positions, averages beside the weights, and the state of the training.
UNUSED_TENSORS = re.compile(
    r"(.*[._])?position_ids|(model_)?ema([._].*)?|(optimizer|lr_scheduler|scheduler|scaler|random_states)([._].*)?"
    r"|(global_)?(step|steps|epoch|iteration)"
)


def group_tensors(names: Iterable[str]) -> dict[str, LayerTensors]:
    """Returns the tensors of a file by layer and role. Layers have the names of the file.

    Raises UnsupportedLora for a tensor without a role, and for a layer whose tensors are not complete.
    """
    layers: dict[str, LayerTensors] = {}
    for name in sorted(names):
        if UNUSED_TENSORS.fullmatch(name):
            continue
        layer, role = split_tensor_name(name) or (name, "")
        tensors = layers.setdefault(layer, {})
        if not role or role in tensors:
            raise UnsupportedLora(describe_unknown_tensor(name))
        tensors[role] = name
    for layer, tensors in layers.items():
        check_completeness(layer, tensors)
    return layers


def split_tensor_name(name: str) -> tuple[str, str] | None:
    """Returns the layer and the role of a tensor, or None for a name of another form."""
    match = LORA_LAYER.fullmatch(name)
    if match is not None:
        return match["layer"], match["role"]
    short = MAGNITUDE_NAME.sub("", ADAPTER_NAME.sub("", name)) if ".lora_" in name else name
    found = next(((short.removesuffix(end), role) for end, role in TENSOR_ROLES if short.endswith(end)), None)
    return found if found is not None and found[0] else None


def describe_unknown_tensor(name: str) -> str:
    kind = next((kind for mark, kind in OTHER_KINDS if mark in name), None)
    return f"its tensor {name} has no place" if kind is None else f"it is of the kind {kind}, which is not supported"


def check_completeness(layer: str, tensors: LayerTensors) -> None:
    """Raises UnsupportedLora if the tensors of a layer are no whole format."""
    roles = tensors.keys() - BIAS_ROLES
    if not roles and "up_bias" not in tensors:
        return
    if any(required <= roles <= required | optional for required, optional in FORMATS):
        if "up_bias" in tensors and "up" not in tensors:
            raise UnsupportedLora(describe_unknown_tensor(tensors["up_bias"]))
        return
    whole = [required | optional for required, optional in FORMATS if required <= roles]
    if whole:
        surplus = min((roles - known for known in whole), key=len)
        raise UnsupportedLora(describe_unknown_tensor(tensors[min(surplus)]))
    raise UnsupportedLora(f"half of what it changes at {layer} is missing")


def is_lora(names: Iterable[str]) -> bool:
    """Returns whether any tensor is one of a LoRA, or of an adapter of another kind."""
    return any(split_tensor_name(name) or any(mark in name for mark, _ in OTHER_KINDS) for name in names)


def count_sides(shapes: Mapping[str, Shape]) -> tuple[int, int] | None:
    """Returns how many outputs and inputs a layer has, from the shapes of its tensors by role.

    Returns None if they do not tell.
    """
    match shapes:
        case {"up": (outputs, *_), "down": (_, inputs, *_)} | {"diff": (outputs, inputs, *_)}:
            return outputs, inputs
        case {"hada_t1": _, "hada_w1_a": (_, outputs), "hada_w1_b": (_, inputs)}:
            return outputs, inputs
        case {"hada_w1_a": (outputs, _), "hada_w1_b": (_, inputs)}:
            return outputs, inputs
        case {"down": (_, inputs, *_)}:
            return 0, inputs
    halves = (shapes.get(name) or join_factors(shapes, name) for name in ("lokr_w1", "lokr_w2"))
    match tuple(halves):
        case ((rows, columns, *_), (more_rows, more_columns, *_)):
            return rows * more_rows, columns * more_columns
    return None


def join_factors(shapes: Mapping[str, Shape], name: str) -> Shape | None:
    """Returns the shape of one half of a Kronecker product that is written as factors."""
    match shapes.get(f"{name}_a"), shapes.get(f"{name}_b"):
        case ((rows, _), (_, columns, *_)):
            return rows, columns
    return None
