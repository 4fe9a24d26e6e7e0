"""Tiny upscalers with random weights, in the layouts of the files that people share."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from imagegen.engine.upscaling.networks import CompactNetwork, EsrganNetwork

Tensors = dict[str, Tensor]
# The names of ESRGAN's two older implementations, for a network of two blocks that doubles twice.
TRUNK_NAMES = {"conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2", "conv_hr": "HRconv"}
NUMBERED_NAMES = {
    "conv_first": "model.0", "conv_body": "model.1.sub.2", "conv_up1": "model.3", "conv_up2": "model.6",
    "conv_hr": "model.8", "conv_last": "model.10",
}  # fmt: skip


def make_compact(scale: int = 4, features: int = 8, blocks: int = 3) -> CompactNetwork:
    torch.manual_seed(3)
    return CompactNetwork(scale, features, blocks).eval()


def make_esrgan(doublings: int = 2, unshuffle: int = 1, features: int = 8, blocks: int = 2) -> EsrganNetwork:
    torch.manual_seed(4)
    return EsrganNetwork(features, blocks, growth=4, unshuffle=unshuffle, doublings=doublings).eval()


def to_trunk_layout(tensors: Tensors) -> Tensors:
    return {name_in_trunk_layout(name): tensor for name, tensor in tensors.items()}


def name_in_trunk_layout(name: str) -> str:
    layer, _, rest = name.partition(".")
    return f"RRDB_trunk.{rest.replace('rdb', 'RDB')}" if layer == "body" else f"{TRUNK_NAMES.get(layer, layer)}.{rest}"


def to_numbered_layout(tensors: Tensors) -> Tensors:
    return {name_in_numbered_layout(name): tensor for name, tensor in tensors.items()}


def name_in_numbered_layout(name: str) -> str:
    layer, _, rest = name.partition(".")
    if layer != "body":
        return f"{NUMBERED_NAMES[layer]}.{rest}"
    block, dense_block, dense_layer, kind = rest.split(".")
    return f"model.1.sub.{block}.{dense_block.upper()}.{dense_layer}.0.{kind}"


def write_upscaler(file: Path, tensors: Tensors) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    return file
