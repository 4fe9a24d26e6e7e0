"""Finds the layers of a pipeline by the names that LoRA files have for them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from diffusers.models.normalization import AdaLayerNormContinuous
from torch import nn

from imagegen.engine.adapters.deltas import Rows
from imagegen.engine.adapters.original_layers import list_original_layers
from imagegen.engine.protocols import Pipeline

DENOISERS = ("transformer", "unet")
# The text model of transformers 5 has one level of names less than LoRA files have.
TEXT_MODEL_PREFIX = "text_model."
# T5 is the third text encoder of some tools, wherever the pipeline has it.
T5 = "T5"
DENOISER = "denoiser"
# The components of a pipeline by the first part of a layer's name in the files of most trainers, where a dot or an
# underscore follows.
SEPARATORS = "._"
TRAINER_PREFIXES = {
    "lora_unet": DENOISER,
    "lora_transformer": DENOISER,
    "lycoris": DENOISER,
    "lora_te": "text_encoder",
    "lora_te1": "text_encoder",
    "lora_te2": "text_encoder_2",
    "lora_te3": T5,
}
# The components by the prefix of a layer's name.
PREFIXES: tuple[tuple[str, str], ...] = (
    ("model.diffusion_model.", DENOISER),
    ("diffusion_model.", DENOISER),
    ("unet.", DENOISER),
    ("transformer.", DENOISER),
    ("text_encoders.clip_l.transformer.", "text_encoder"),
    ("text_encoders.clip_g.transformer.", "text_encoder_2"),
    ("text_encoders.t5xxl.transformer.", T5),
    ("text_encoder.", "text_encoder"),
    ("text_encoder_2.", "text_encoder_2"),
    ("text_encoder_3.", "text_encoder_3"),
    ("clip_l.", "text_encoder"),
    ("clip_g.", "text_encoder_2"),
    ("t5.", T5),
    *((prefix + separator, part) for prefix, part in TRAINER_PREFIXES.items() for separator in SEPARATORS),
)
# Old names of attention layers in text encoders and UNets, with their new names.
OLD_LAYER_NAMES = (
    (re.compile(r"self_attn\.to_([qkv])_lora$"), r"self_attn.\1_proj"),
    (re.compile(r"self_attn\.to_out_lora$"), "self_attn.out_proj"),
    (re.compile(r"processor\.to_([qkv])_lora$"), r"to_\1"),
    (re.compile(r"processor\.to_out_lora$"), "to_out.0"),
)


@dataclass(frozen=True)
class LayerPart:
    """A layer of a pipeline, and its rows in the layer of the file, where several may be one; None for all rows."""

    component: str
    module: nn.Module
    rows: Rows | None = None


LayerParts = tuple[LayerPart, ...]


class LayerNames:
    """The layers of one pipeline by name. Each component is read when the first name for it is looked up."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._by_component: dict[str, Mapping[str, LayerParts]] = {}

    def find(self, name: str) -> LayerParts | None:
        """Returns the layers that a layer of a file is; None if the pipeline has none of that name."""
        name = name.removeprefix("base_model.model.")
        prefix, component = next((each for each in PREFIXES if name.startswith(each[0])), ("", DENOISER))
        layers = self._get_layers(self._locate(component))
        return layers.get(update_layer_name(name.removeprefix(prefix)))

    def _locate(self, component: str) -> str:
        """Returns the name of a component in the pipeline."""
        if component == DENOISER:
            return next((name for name in DENOISERS if getattr(self.pipeline, name, None) is not None), component)
        if component == T5:
            encoders = ("text_encoder_3", "text_encoder_2", "text_encoder")
            return next((name for name in encoders if is_t5(getattr(self.pipeline, name, None))), component)
        return component

    def _get_layers(self, component: str) -> Mapping[str, LayerParts]:
        if component not in self._by_component:
            network = getattr(self.pipeline, component, None)
            layers = index_layers(component, network) if isinstance(network, nn.Module) else {}
            self._by_component[component] = layers
        return self._by_component[component]


def is_t5(network: object) -> bool:
    return type(network).__name__.startswith(("T5", "UMT5"))


def update_layer_name(module: str) -> str:
    """Returns the name that today's diffusers has for a layer."""
    for old, new in OLD_LAYER_NAMES:
        module = old.sub(new, module)
    return module


def index_layers(component: str, network: nn.Module) -> Mapping[str, LayerParts]:
    """Returns the layers of a network by all their names, with dots and with underscores between the parts."""
    layers: dict[str, LayerParts] = {}
    for name, parts in list_layers(component, network):
        layers.setdefault(name, parts)
    for name, parts in list(layers.items()):
        layers.setdefault(name.replace(".", "_"), parts)
    return layers


def list_layers(component: str, network: nn.Module) -> Iterator[tuple[str, LayerParts]]:
    """Yields the layers of a network by their names with dots.

    A layer that is a part of an original one also has the original name with its number in it, as in the files of
    OneTrainer.
    """
    modules = {name: module for name, module in network.named_modules() if has_weight(module)}
    for name, module in modules.items():
        yield name, (LayerPart(component, module),)
    if component not in DENOISERS:
        for name, module in modules.items():
            other = name.removeprefix(TEXT_MODEL_PREFIX)
            yield TEXT_MODEL_PREFIX + name if other == name else other, (LayerPart(component, module),)
        return
    for original, names in list_original_layers(network):
        if all(name in modules for name in names):
            yield original, tuple(split_rows(component, network, names))
            for number, name in enumerate(names if len(names) > 1 else ()):
                yield f"{original}.{number}", (LayerPart(component, modules[name]),)


def split_rows(component: str, network: nn.Module, names: tuple[str, ...]) -> Iterator[LayerPart]:
    """Yields the layers of diffusers that are one in the original model, with their rows in it."""
    if len(names) == 1:
        module = network.get_submodule(names[0])
        yield LayerPart(component, module, get_row_order(network, names[0], module))
        return
    start = 0
    for name in names:
        module = network.get_submodule(name)
        end = start + count_rows(module)
        yield LayerPart(component, module, slice(start, end))
        start = end


def get_row_order(network: nn.Module, name: str, module: nn.Module) -> Rows | None:
    """Returns which row of the original layer each row is.

    AdaLayerNormContinuous has the scale before the shift; the original models have the shift first.
    """
    parent = network.get_submodule(name.rpartition(".")[0])
    if not isinstance(parent, AdaLayerNormContinuous):
        return None
    rows = count_rows(module)
    return torch.arange(rows).roll(rows // 2)


def has_weight(module: nn.Module) -> bool:
    return isinstance(getattr(module, "weight", None), nn.Parameter)


def count_rows(module: nn.Module) -> int:
    weight = module.weight
    assert isinstance(weight, nn.Parameter)
    return len(weight)
