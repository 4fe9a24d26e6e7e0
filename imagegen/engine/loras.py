"""LoRA files, in the format of diffusers or of kohya's scripts, as what they add to the weights of a network.

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

from imagegen.engine.loading import Pipeline
from imagegen.engine.quiet import unsaid
from imagegen.errors import UnusableModel
from imagegen.info import AdapterSource

PARTS = ("unet", "transformer", "text_encoder_2", "text_encoder_3", "text_encoder")
NAME = re.compile(
    rf"(?P<part>{'|'.join(PARTS)})\.(?P<module>.+?)\."
    r"(?:lora_|lora\.|lora_linear_layer\.)?(?P<half>A|B|down|up)(?:\.default)?\.weight"
)


# Older names of attention layers, in text encoders and in UNets.
OLD_NAMES = (
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


# By part of the pipeline and module in it.
Lora = Mapping[tuple[str, str], Factors]


def read_lora(source: AdapterSource, pipeline: Pipeline) -> Lora:
    """In the names of `pipeline`, whose class knows other formats. Raises UnusableModel."""
    try:
        tensors, alphas, metadata = converted(source.path, pipeline)
    except (ValueError, KeyError, RuntimeError, OSError, IndexError, AttributeError, NotImplementedError) as error:
        raise UnusableModel(source.id, f"its format is not known ({error})"[:200], "loras") from None
    halves: dict[tuple[str, str], dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = NAME.fullmatch(name)
        if match is None:
            raise UnusableModel(source.id, f"it changes {name}, which is no LoRA of a layer", "loras")
        half = "down" if match["half"] in ("A", "down") else "up"
        halves.setdefault((match["part"], today(match["module"])), {})[half] = tensor
    by_place = {placed(name): alpha for name, alpha in alphas.items()}
    for (part, module), pair in halves.items():
        if len(pair) != 2:
            raise UnusableModel(source.id, f"half of what it changes at {part}.{module} is missing", "loras")
    return {place: factors(place, pair, by_place, metadata) for place, pair in halves.items()}


def placed(alpha: str) -> tuple[str, str]:
    """The layer that an alpha belongs to: `unet.x.to_k.alpha`, or `unet.x.to_k_lora.down.weight.alpha`."""
    name = alpha.removesuffix(".alpha")
    match = NAME.fullmatch(name)
    part, _, module = name.partition(".")
    return (match["part"], today(match["module"])) if match else (part, today(module))


def today(module: str) -> str:
    """The name that a layer has now."""
    for old, new in OLD_NAMES:
        module = old.sub(new, module)
    return module


def converted(file: Path, pipeline: Pipeline) -> tuple[dict[str, Tensor], dict[str, float], dict[str, Any]]:
    """Tensors by the names of diffusers, alphas by module, and what diffusers wrote about ranks and alphas."""
    kind = type(pipeline)
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "return_lora_metadata": True}
    if hasattr(pipeline, "unet"):
        options["unet_config"] = pipeline.unet.config
    elif "Flux" in kind.__name__ and "Flux2" not in kind.__name__:
        options["return_alphas"] = True
    with unsaid("diffusers.loaders.lora_conversion_utils", ""), unsaid("diffusers.loaders.lora_pipeline", ""):
        tensors, *rest = kind.lora_state_dict(str(file.parent), weight_name=file.name, **options)
    alphas = rest[0] if len(rest) == 2 else {}
    return tensors, {name: float(alpha) for name, alpha in (alphas or {}).items()}, rest[-1] or {}


def factors(
    place: tuple[str, str],
    pair: dict[str, Tensor],
    alphas: Mapping[tuple[str, str], float],
    metadata: Mapping[str, Any],
) -> Factors:
    part, module = place
    rank = pair["down"].shape[0]
    alpha = alphas.get(place)
    if alpha is None:
        patterns = metadata.get(f"{part}.alpha_pattern") or {}
        patterns = json.loads(patterns) if isinstance(patterns, str) else patterns
        alpha = patterns.get(module, metadata.get(f"{part}.lora_alpha", rank))
    # Copies, since a file that is read as memory may be written to meanwhile.
    return Factors(pair["down"].clone(), pair["up"].clone(), float(alpha) / rank)
