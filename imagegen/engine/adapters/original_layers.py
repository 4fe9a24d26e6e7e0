"""The names that layers have in the models of their authors, which trainers such as kohya's and ai-toolkit use.

`{}` stands for the number of a block. Several layers of diffusers are one in the original model: its rows are theirs,
one after the other. The names are those of the conversions of checkpoints in diffusers
(`diffusers/loaders/single_file_utils.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from torch import nn

# Names of layers of diffusers by the original name of the layer that they are together.
OriginalLayers = Mapping[str, tuple[str, ...]]


def list_attention(block: str, prefix: str = "to_", suffix: str = "") -> tuple[str, ...]:
    """Returns the layers of queries, keys and values."""
    return tuple(f"{block}.{prefix}{each}{suffix}" for each in "qkv")


DOUBLE, SINGLE = "transformer_blocks.{}", "single_transformer_blocks.{}"
IMAGE_ATTENTION = list_attention(f"{DOUBLE}.attn")
TEXT_ATTENTION = list_attention(f"{DOUBLE}.attn", "add_", "_proj")
# What FLUX.1 and FLUX.2 have in common.
FLUX_BLOCKS: OriginalLayers = {
    "double_blocks.{}.img_attn.qkv": IMAGE_ATTENTION,
    "double_blocks.{}.txt_attn.qkv": TEXT_ATTENTION,
    "double_blocks.{}.img_attn.proj": (f"{DOUBLE}.attn.to_out.0",),
    "double_blocks.{}.txt_attn.proj": (f"{DOUBLE}.attn.to_add_out",),
    "double_blocks.{}.img_attn.norm.query_norm": (f"{DOUBLE}.attn.norm_q",),
    "double_blocks.{}.img_attn.norm.key_norm": (f"{DOUBLE}.attn.norm_k",),
    "double_blocks.{}.txt_attn.norm.query_norm": (f"{DOUBLE}.attn.norm_added_q",),
    "double_blocks.{}.txt_attn.norm.key_norm": (f"{DOUBLE}.attn.norm_added_k",),
    "single_blocks.{}.norm.query_norm": (f"{SINGLE}.attn.norm_q",),
    "single_blocks.{}.norm.key_norm": (f"{SINGLE}.attn.norm_k",),
    "img_in": ("x_embedder",),
    "img_in.proj": ("x_embedder",),
    "txt_in": ("context_embedder",),
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
}
FLUX: OriginalLayers = {
    **FLUX_BLOCKS,
    "double_blocks.{}.img_mlp.0": (f"{DOUBLE}.ff.net.0.proj",),
    "double_blocks.{}.img_mlp.2": (f"{DOUBLE}.ff.net.2",),
    "double_blocks.{}.img_mod.lin": (f"{DOUBLE}.norm1.linear",),
    "double_blocks.{}.txt_mlp.0": (f"{DOUBLE}.ff_context.net.0.proj",),
    "double_blocks.{}.txt_mlp.2": (f"{DOUBLE}.ff_context.net.2",),
    "double_blocks.{}.txt_mod.lin": (f"{DOUBLE}.norm1_context.linear",),
    "single_blocks.{}.linear1": (*list_attention(f"{SINGLE}.attn"), f"{SINGLE}.proj_mlp"),
    "single_blocks.{}.linear2": (f"{SINGLE}.proj_out",),
    "single_blocks.{}.modulation.lin": (f"{SINGLE}.norm.linear",),
    "time_in.in_layer": ("time_text_embed.timestep_embedder.linear_1",),
    "time_in.out_layer": ("time_text_embed.timestep_embedder.linear_2",),
    "vector_in.in_layer": ("time_text_embed.text_embedder.linear_1",),
    "vector_in.out_layer": ("time_text_embed.text_embedder.linear_2",),
    "guidance_in.in_layer": ("time_text_embed.guidance_embedder.linear_1",),
    "guidance_in.out_layer": ("time_text_embed.guidance_embedder.linear_2",),
    # The names of XLabs' trainer.
    "double_blocks.{}.processor.qkv_lora1": IMAGE_ATTENTION,
    "double_blocks.{}.processor.qkv_lora2": TEXT_ATTENTION,
    "double_blocks.{}.processor.proj_lora1": (f"{DOUBLE}.attn.to_out.0",),
    "double_blocks.{}.processor.proj_lora2": (f"{DOUBLE}.attn.to_add_out",),
    "single_blocks.{}.processor.qkv_lora": list_attention(f"{SINGLE}.attn"),
    "single_blocks.{}.processor.proj_lora": (f"{SINGLE}.proj_out",),
}
FLUX2: OriginalLayers = {
    **FLUX_BLOCKS,
    "double_blocks.{}.img_mlp.0": (f"{DOUBLE}.ff.linear_in",),
    "double_blocks.{}.img_mlp.2": (f"{DOUBLE}.ff.linear_out",),
    "double_blocks.{}.txt_mlp.0": (f"{DOUBLE}.ff_context.linear_in",),
    "double_blocks.{}.txt_mlp.2": (f"{DOUBLE}.ff_context.linear_out",),
    "single_blocks.{}.linear1": (f"{SINGLE}.attn.to_qkv_mlp_proj",),
    "single_blocks.{}.linear2": (f"{SINGLE}.attn.to_out",),
    "double_stream_modulation_img.lin": ("double_stream_modulation_img.linear",),
    "double_stream_modulation_txt.lin": ("double_stream_modulation_txt.linear",),
    "single_stream_modulation.lin": ("single_stream_modulation.linear",),
    "time_in.in_layer": ("time_guidance_embed.timestep_embedder.linear_1",),
    "time_in.out_layer": ("time_guidance_embed.timestep_embedder.linear_2",),
    "guidance_in.in_layer": ("time_guidance_embed.guidance_embedder.linear_1",),
    "guidance_in.out_layer": ("time_guidance_embed.guidance_embedder.linear_2",),
}
STABLE_DIFFUSION_3: OriginalLayers = {
    "joint_blocks.{}.x_block.attn.qkv": IMAGE_ATTENTION,
    "joint_blocks.{}.x_block.attn2.qkv": list_attention(f"{DOUBLE}.attn2"),
    "joint_blocks.{}.context_block.attn.qkv": TEXT_ATTENTION,
    "joint_blocks.{}.x_block.attn.proj": (f"{DOUBLE}.attn.to_out.0",),
    "joint_blocks.{}.x_block.attn2.proj": (f"{DOUBLE}.attn2.to_out.0",),
    "joint_blocks.{}.context_block.attn.proj": (f"{DOUBLE}.attn.to_add_out",),
    "joint_blocks.{}.x_block.attn.ln_q": (f"{DOUBLE}.attn.norm_q",),
    "joint_blocks.{}.x_block.attn.ln_k": (f"{DOUBLE}.attn.norm_k",),
    "joint_blocks.{}.x_block.attn2.ln_q": (f"{DOUBLE}.attn2.norm_q",),
    "joint_blocks.{}.x_block.attn2.ln_k": (f"{DOUBLE}.attn2.norm_k",),
    "joint_blocks.{}.context_block.attn.ln_q": (f"{DOUBLE}.attn.norm_added_q",),
    "joint_blocks.{}.context_block.attn.ln_k": (f"{DOUBLE}.attn.norm_added_k",),
    "joint_blocks.{}.x_block.mlp.fc1": (f"{DOUBLE}.ff.net.0.proj",),
    "joint_blocks.{}.x_block.mlp.fc2": (f"{DOUBLE}.ff.net.2",),
    "joint_blocks.{}.context_block.mlp.fc1": (f"{DOUBLE}.ff_context.net.0.proj",),
    "joint_blocks.{}.context_block.mlp.fc2": (f"{DOUBLE}.ff_context.net.2",),
    "joint_blocks.{}.x_block.adaLN_modulation.1": (f"{DOUBLE}.norm1.linear",),
    "joint_blocks.{}.context_block.adaLN_modulation.1": (f"{DOUBLE}.norm1_context.linear",),
    "x_embedder.proj": ("pos_embed.proj",),
    "t_embedder.mlp.0": ("time_text_embed.timestep_embedder.linear_1",),
    "t_embedder.mlp.2": ("time_text_embed.timestep_embedder.linear_2",),
    "y_embedder.mlp.0": ("time_text_embed.text_embedder.linear_1",),
    "y_embedder.mlp.2": ("time_text_embed.text_embedder.linear_2",),
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
}
Z_IMAGE: OriginalLayers = {
    **{
        f"{blocks}.{{}}.attention.{original}": tuple(f"{blocks}.{{}}.attention.{name}" for name in names)
        for blocks in ("layers", "noise_refiner", "context_refiner")
        for original, names in (
            ("qkv", ("to_q", "to_k", "to_v")),
            ("out", ("to_out.0",)),
            ("q_norm", ("norm_q",)),
            ("k_norm", ("norm_k",)),
        )
    },
    "x_embedder": ("all_x_embedder.2-1",),
    "final_layer.linear": ("all_final_layer.2-1.linear",),
    "final_layer.adaLN_modulation.1": ("all_final_layer.2-1.adaLN_modulation.1",),
}
# By the class of the network.
TRANSFORMERS: Mapping[str, OriginalLayers] = {
    "FluxTransformer2DModel": FLUX,
    "Flux2Transformer2DModel": FLUX2,
    "SD3Transformer2DModel": STABLE_DIFFUSION_3,
    "ZImageTransformer2DModel": Z_IMAGE,
}

# Parts of names in the blocks of Stable Diffusion's UNet.
RESNET_LAYERS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
UNET_LAYERS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}


def list_original_layers(network: nn.Module) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields the original names of a denoiser's layers, with the names of the layers of diffusers that they are."""
    modules = dict(network.named_modules())
    if type(network).__name__ == "UNet2DConditionModel":
        yield from list_unet_layers(network, modules)
    for original, parts in TRANSFORMERS.get(type(network).__name__, {}).items():
        pattern = re.compile(re.escape(parts[0]).replace(r"\{\}", r"(\d+)"))
        for match in filter(None, map(pattern.fullmatch, modules)):
            number = match[1] if match.groups() else ""
            yield original.format(number), tuple(part.format(number) for part in parts)


def list_unet_layers(network: nn.Module, modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for original, name in UNET_LAYERS.items():
        if name in modules:
            yield original, (name,)
    for original_block, block in list_unet_blocks(network):
        for name in modules:
            if name.startswith(f"{block}."):
                layer = name.removeprefix(f"{block}.")
                inner = RESNET_LAYERS.get(layer, layer) if ".resnets." in block else layer
                yield f"{original_block}.{inner}", (name,)
            elif name == block:
                yield original_block, (name,)


def list_unet_blocks(network: nn.Module) -> Iterator[tuple[str, str]]:
    """Yields the original name and that of diffusers of each block with layers: they are numbered in another way."""
    number = 1
    for level, block in enumerate(get_children(network, "down_blocks")):
        for index in range(len(get_children(block, "resnets"))):
            yield f"input_blocks.{number}.0", f"down_blocks.{level}.resnets.{index}"
            yield f"input_blocks.{number}.1", f"down_blocks.{level}.attentions.{index}"
            number += 1
        if get_children(block, "downsamplers"):
            yield f"input_blocks.{number}.0.op", f"down_blocks.{level}.downsamplers.0.conv"
            number += 1
    for original, name in (("0", "resnets.0"), ("1", "attentions.0"), ("2", "resnets.1")):
        yield f"middle_block.{original}", f"mid_block.{name}"
    number = 0
    for level, block in enumerate(get_children(network, "up_blocks")):
        has_attention = bool(get_children(block, "attentions"))
        for index in range(len(get_children(block, "resnets"))):
            yield f"output_blocks.{number}.0", f"up_blocks.{level}.resnets.{index}"
            yield f"output_blocks.{number}.1", f"up_blocks.{level}.attentions.{index}"
            number += 1
        yield f"output_blocks.{number - 1}.{1 + has_attention}.conv", f"up_blocks.{level}.upsamplers.0.conv"


def get_children(module: nn.Module, name: str) -> list[nn.Module]:
    """Returns the modules of a list; an empty list if the module has none of that name."""
    children = getattr(module, name, None)
    return list(children) if isinstance(children, nn.ModuleList) else []
