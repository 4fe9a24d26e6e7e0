"""Converts the denoiser of FLUX.1 from its original layout to that of diffusers.

In the original layout, queries, keys and values of a block are one matrix; in a single block, the first layer of its
MLP belongs to it too. https://github.com/black-forest-labs/flux
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

# The names of layers in diffusers by those in the file. `{}` is the number of the block.
EMBEDDERS = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "final_layer.linear": "proj_out",
}
DOUBLE_BLOCK = {
    "img_mod.lin": "norm1.linear",
    "txt_mod.lin": "norm1_context.linear",
    "img_attn.norm.query_norm": "attn.norm_q",
    "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q",
    "txt_attn.norm.key_norm": "attn.norm_added_k",
    "img_attn.proj": "attn.to_out.0",
    "txt_attn.proj": "attn.to_add_out",
    "img_mlp.0": "ff.net.0.proj",
    "img_mlp.2": "ff.net.2",
    "txt_mlp.0": "ff_context.net.0.proj",
    "txt_mlp.2": "ff_context.net.2",
}
SINGLE_BLOCK = {
    "modulation.lin": "norm.linear",
    "norm.query_norm": "attn.norm_q",
    "norm.key_norm": "attn.norm_k",
    "linear2": "proj_out",
}
# The layers that one matrix has in its rows.
DOUBLE_MATRICES = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
SINGLE_MATRIX = ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")
BLOCK_PATTERN = re.compile(r"(double|single)_blocks\.(\d+)\.(.+)")
LAST_MODULATION = "final_layer.adaLN_modulation.1"


def convert_flux(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors by their names in diffusers. Raises KeyError for one that FLUX.1 does not have."""
    return {new: tensor for name, weight in weights.items() for new, tensor in convert_tensor(name, weight)}


def convert_tensor(name: str, weight: Tensor) -> Iterator[tuple[str, Tensor]]:
    layer, _, kind = name.rpartition(".")
    kind = "weight" if kind == "scale" else kind
    if layer == LAST_MODULATION:
        shift, scale = weight.chunk(2)
        yield f"norm_out.linear.{kind}", torch.cat([scale, shift])
    elif match := BLOCK_PATTERN.fullmatch(layer):
        yield from convert_block(match[1], match[2], match[3], kind, weight)
    else:
        yield f"{EMBEDDERS[layer]}.{kind}", weight


def convert_block(block: str, number: str, layer: str, kind: str, weight: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yields the tensors of one layer of a block, which is "double" or "single"."""
    if block == "double" and layer in DOUBLE_MATRICES:
        for new, part in zip(DOUBLE_MATRICES[layer], weight.chunk(3), strict=True):
            yield f"transformer_blocks.{number}.{new}.{kind}", part
    elif block == "double":
        yield f"transformer_blocks.{number}.{DOUBLE_BLOCK[layer]}.{kind}", weight
    elif layer == "linear1":
        width = len(weight) // 7  # Queries, keys and values, and four times as many rows of the MLP.
        for new, part in zip(SINGLE_MATRIX, weight.split((width, width, width, 4 * width)), strict=True):
            yield f"single_transformer_blocks.{number}.{new}.{kind}", part
    else:
        yield f"single_transformer_blocks.{number}.{SINGLE_BLOCK[layer]}.{kind}", weight
