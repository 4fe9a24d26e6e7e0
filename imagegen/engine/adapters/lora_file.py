"""Reads LoRA files, in the format of diffusers or of kohya's scripts: the factors of what they add to weights.

LoRA: W' = W + weight * (alpha / rank) * up @ down (Hu et al. 2021, https://arxiv.org/abs/2106.09685).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from imagegen.engine.families.base import ModelFamily
from imagegen.engine.log_filters import suppress_messages
from imagegen.engine.protocols import Pipeline
from imagegen.errors import UnusableModel
from imagegen.schema.models import AdapterSource

COMPONENTS = ("unet", "transformer", "text_encoder_2", "text_encoder_3", "text_encoder")
LORA_TENSOR_NAME = re.compile(
    rf"(?P<part>{'|'.join(COMPONENTS)})\.(?P<module>.+?)\."
    r"(?:lora_|lora\.|lora_linear_layer\.)?(?P<half>A|B|down|up)(?:\.default)?\.weight"
)


# Old names of attention layers in text encoders and UNets, with their new names.
OLD_LAYER_NAMES = (
    (re.compile(r"self_attn\.to_([qkv])_lora$"), r"self_attn.\1_proj"),
    (re.compile(r"self_attn\.to_out_lora$"), "self_attn.out_proj"),
    (re.compile(r"processor\.to_([qkv])_lora$"), r"to_\1"),
    (re.compile(r"processor\.to_out_lora$"), "to_out.0"),
)


@dataclass(frozen=True)
class Factors:
    """`down` is of shape (rank, in, ...), `up` of shape (out, rank, ...); `scale` is alpha / rank."""

    down: Tensor
    up: Tensor
    scale: float


# By component of the pipeline and module in it.
LayerKey = tuple[str, str]
Lora = Mapping[LayerKey, Factors]


def read_lora(source: AdapterSource, pipeline: Pipeline, family: ModelFamily) -> Lora:
    """Returns the factors in a file, by the names of the pipeline's modules. Raises UnusableModel."""
    try:
        tensors, alphas, metadata = convert_to_diffusers(source.path, pipeline, family)
    except (ValueError, KeyError, RuntimeError, OSError, IndexError, AttributeError, NotImplementedError) as error:
        raise UnusableModel(source.id, f"its format is not known ({error})"[:200], "loras") from None
    halves: dict[LayerKey, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = LORA_TENSOR_NAME.fullmatch(name)
        if match is None:
            raise UnusableModel(source.id, f"it changes {name}, which is no LoRA of a layer", "loras")
        half = "down" if match["half"] in ("A", "down") else "up"
        halves.setdefault((match["part"], update_layer_name(match["module"])), {})[half] = tensor
    alphas_by_layer = {locate_alpha(name): alpha for name, alpha in alphas.items()}
    for (part, module), pair in halves.items():
        if len(pair) != 2:
            raise UnusableModel(source.id, f"half of what it changes at {part}.{module} is missing", "loras")
    return {place: build_factors(place, pair, alphas_by_layer, metadata) for place, pair in halves.items()}


def locate_alpha(alpha: str) -> LayerKey:
    """Returns component and module of an alpha: `unet.x.to_k.alpha`, or `unet.x.to_k_lora.down.weight.alpha`."""
    name = alpha.removesuffix(".alpha")
    match = LORA_TENSOR_NAME.fullmatch(name)
    part, _, module = name.partition(".")
    return (match["part"], update_layer_name(match["module"])) if match else (part, update_layer_name(module))


def update_layer_name(module: str) -> str:
    """Returns the name that today's diffusers has for a layer."""
    for old, new in OLD_LAYER_NAMES:
        module = old.sub(new, module)
    return module


def convert_to_diffusers(
    file: Path, pipeline: Pipeline, family: ModelFamily
) -> tuple[dict[str, Tensor], dict[str, float], dict[str, Any]]:
    """Returns tensors by diffusers' names, alphas by module, and the ranks and alphas in the metadata."""
    pipeline_class: Any = type(pipeline)  # It converts the formats of other tools.
    options = {"use_safetensors": True, "local_files_only": True, "return_lora_metadata": True}
    with (
        suppress_messages("diffusers.loaders.lora_conversion_utils", ""),
        suppress_messages("diffusers.loaders.lora_pipeline", ""),
    ):
        tensors, *rest = pipeline_class.lora_state_dict(
            str(file.parent), weight_name=file.name, **options, **family.build_lora_options(pipeline)
        )
    alphas = rest[0] if len(rest) == 2 else {}
    return tensors, {name: float(alpha) for name, alpha in (alphas or {}).items()}, rest[-1] or {}


def build_factors(
    layer_key: LayerKey, pair: dict[str, Tensor], alphas: Mapping[LayerKey, float], metadata: Mapping[str, Any]
) -> Factors:
    component, module = layer_key
    rank = pair["down"].shape[0]
    alpha = alphas.get(layer_key)
    if alpha is None:
        patterns = metadata.get(f"{component}.alpha_pattern") or {}
        patterns = json.loads(patterns) if isinstance(patterns, str) else patterns
        alpha = patterns.get(module, metadata.get(f"{component}.lora_alpha", rank))
    # Copies, since the file is mapped into memory, and may change on disk.
    return Factors(pair["down"].clone(), pair["up"].clone(), float(alpha) / rank)
