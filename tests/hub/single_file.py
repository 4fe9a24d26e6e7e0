"""Whole models in one file, with the weight names of the original Stable Diffusion releases."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from safetensors.torch import save_file

Weights = dict[str, torch.Tensor]
Names = Iterable[tuple[str, str]]

# Maps diffusers' names to the original ones. Block numbers are computed.
UNET: Names = (
    (r"time_embedding\.linear_1", "time_embed.0"),
    (r"time_embedding\.linear_2", "time_embed.2"),
    (r"add_embedding\.linear_1", "label_emb.0.0"),
    (r"add_embedding\.linear_2", "label_emb.0.2"),
    (r"conv_in\.", "input_blocks.0.0."),
    (r"conv_norm_out", "out.0"),
    (r"conv_out", "out.2"),
    (r"mid_block\.attentions\.0", "middle_block.1"),
    (r"mid_block\.resnets\.0", "middle_block.0"),
    (r"mid_block\.resnets\.1", "middle_block.2"),
)
RESNET: Names = (
    (r"norm1", "in_layers.0"),
    (r"conv1", "in_layers.2"),
    (r"norm2", "out_layers.0"),
    (r"conv2", "out_layers.3"),
    (r"time_emb_proj", "emb_layers.1"),
    (r"conv_shortcut", "skip_connection"),
)
AUTOENCODER: Names = (
    (r"conv_norm_out", "norm_out"),
    (r"conv_shortcut", "nin_shortcut"),
    (r"mid_block\.attentions\.0", "mid.attn_1"),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"group_norm", "norm"),
    (r"to_([qkv])\b", r"\1"),
    (r"to_out\.0", "proj_out"),
    (r"down_blocks\.(\d)\.resnets", r"down.\1.block"),
    (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
)
OPEN_CLIP: Names = (
    (r"^(text_model\.)?embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"^(text_model\.)?embeddings\.", ""),
    (r"^(text_model\.)?encoder\.layers\.", "transformer.resblocks."),
    (r"^(text_model\.)?final_layer_norm", "ln_final"),
    (r"layer_norm([12])", r"ln_\1"),
    (r"mlp\.fc1", "mlp.c_fc"),
    (r"mlp\.fc2", "mlp.c_proj"),
    (r"self_attn\.", "attn."),
    (r"text_projection\.weight", "text_projection"),
)


FLUX: Names = (
    (r"^x_embedder", "img_in"),
    (r"^context_embedder", "txt_in"),
    (r"^time_text_embed\.timestep_embedder", "time_in"),
    (r"^time_text_embed\.text_embedder", "vector_in"),
    (r"^time_text_embed\.guidance_embedder", "guidance_in"),
    (r"_in\.linear_1", "_in.in_layer"),
    (r"_in\.linear_2", "_in.out_layer"),
    (r"^proj_out", "final_layer.linear"),
    (r"^single_transformer_blocks", "single_blocks"),
    (r"(single_blocks\.\d+)\.norm\.linear", r"\1.modulation.lin"),
    (r"(single_blocks\.\d+)\.proj_out", r"\1.linear2"),
    (r"(single_blocks\.\d+)\.attn\.norm_([qk])\.weight", r"\1.norm.\2.scale"),
    (r"^transformer_blocks", "double_blocks"),
    (r"norm1\.linear", "img_mod.lin"),
    (r"norm1_context\.linear", "txt_mod.lin"),
    (r"attn\.norm_added_([qk])\.weight", r"txt_attn.norm.\1.scale"),
    (r"\battn\.norm_([qk])\.weight", r"img_attn.norm.\1.scale"),
    (r"norm\.q\.scale", "norm.query_norm.scale"),
    (r"norm\.k\.scale", "norm.key_norm.scale"),
    (r"\battn\.to_out\.0", "img_attn.proj"),
    (r"\battn\.to_add_out", "txt_attn.proj"),
    (r"\bff\.net\.0\.proj", "img_mlp.0"),
    (r"\bff\.net\.2", "img_mlp.2"),
    (r"\bff_context\.net\.0\.proj", "txt_mlp.0"),
    (r"\bff_context\.net\.2", "txt_mlp.2"),
)


def flux(transformer: Any) -> Weights:
    """Returns the weights by their original names, where layers of one input are one matrix."""
    old, weights = transformer.state_dict(), {}
    for name, weight in old.items():
        if match := re.fullmatch(r"(.*)attn\.(to|add)_([qkv])(_proj)?\.(weight|bias)", name):
            if match[3] != "q":
                continue
            layers = [f"{match[1]}attn.{match[2]}_{each}{match[4] or ''}.{match[5]}" for each in "qkv"]
            if name.startswith("single"):
                layers.append(f"{match[1]}proj_mlp.{match[5]}")
                new = f"{match[1]}linear1.{match[5]}"
            else:
                new = f"{match[1]}{'img' if match[2] == 'to' else 'txt'}_attn.qkv.{match[5]}"
            weights[renamed(new, FLUX)] = torch.cat([old[each] for each in layers])
        elif name.startswith("norm_out.linear"):
            scale, shift = weight.chunk(2)  # diffusers has them the other way round.
            weights[name.replace("norm_out.linear", "final_layer.adaLN_modulation.1")] = torch.cat([shift, scale])
        elif "proj_mlp" not in name:
            weights[renamed(name, FLUX)] = weight
    return weights


def single_file(pipeline_folder: Path, file: Path) -> None:
    """Writes the Stable Diffusion 1, 2 or XL in a folder to one file, as CompVis or Stability AI did.

    It is loaded with `from_single_file(file, config=str(pipeline_folder))`.
    """
    pipeline = DiffusionPipeline.from_pretrained(pipeline_folder, dtype=torch.float16, local_files_only=True)
    weights = prefixed("model.diffusion_model.", unet(pipeline.unet))
    weights |= prefixed("first_stage_model.", autoencoder(pipeline.vae))
    if "text_encoder_2" in pipeline.components:
        weights |= prefixed("conditioner.embedders.0.transformer.", clip(pipeline.text_encoder))
        weights |= prefixed("conditioner.embedders.1.model.", open_clip(pipeline.text_encoder_2))
    elif pipeline.unet.config.cross_attention_dim == 1024:
        weights |= prefixed("cond_stage_model.model.", open_clip(pipeline.text_encoder))
    else:
        weights |= prefixed("cond_stage_model.transformer.", clip(pipeline.text_encoder))
    save_file({name: weight.contiguous() for name, weight in weights.items()}, file)


def unet(model: Any) -> Weights:
    weights = model.state_dict()
    return {unet_name(old, weights): weight for old, weight in weights.items()}


def unet_name(old: str, names: Container[str], per_level: int = 3) -> str:
    """Returns a weight's original name. `names` are all names, `per_level` is the number of blocks per level."""
    new = renamed(renamed(old, RESNET) if ".resnets." in old else old, UNET)
    match = re.match(r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)(\.conv)?", new)
    if not match:
        return new
    direction, level, part, position = match[1], int(match[2]), match[3], int(match[4])
    rest = (match[5] or "") + new[match.end() :]
    last = per_level * (level + 1)
    if part == "downsamplers":
        return f"input_blocks.{last}.0.op{new[match.end() :]}"
    if part == "upsamplers":
        has_attention = f"up_blocks.{level}.attentions.0.norm.weight" in names
        return f"output_blocks.{last - 1}.{1 + has_attention}{rest}"
    block = per_level * level + position
    side = f"input_blocks.{block + 1}" if direction == "down" else f"output_blocks.{block}"
    return f"{side}.{int(part == 'attentions')}{rest}"


def autoencoder(model: Any) -> Weights:
    """Returns the autoencoder's weights; its attention uses convolutions, and decoder levels are counted from below."""
    top = len(model.config.block_out_channels) - 1
    weights = {}
    for old, weight in model.state_dict().items():
        new = renamed(old, AUTOENCODER)
        if match := re.search(r"up_blocks\.(\d)\.(resnets|upsamplers\.0)", new):
            part = "block" if match[2] == "resnets" else "upsample"
            new = f"{new[: match.start()]}up.{top - int(match[1])}.{part}{new[match.end() :]}"
        is_projection = "attn_1" in new and weight.ndim == 2
        weights[new] = weight[:, :, None, None] if is_projection else weight
    return weights


def clip(model: Any) -> Weights:
    return {f"text_model.{name.removeprefix('text_model.')}": weight for name, weight in model.state_dict().items()}


def open_clip(model: Any) -> Weights:
    """Returns the weights of an OpenCLIP encoder, where queries, keys and values are one matrix."""
    weights, old = {}, model.state_dict()
    for name, weight in old.items():
        new = renamed(name, OPEN_CLIP)
        if match := re.fullmatch(r"(.*attn\.)q_proj\.(weight|bias)", new):
            three = [old[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            weights[f"{match[1]}in_proj_{match[2]}"] = torch.cat(three)
        elif not re.search(r"attn\.[kv]_proj", new):
            weights[new] = weight.T if new == "text_projection" else weight
    return weights


def renamed(name: str, names: Names) -> str:
    for old, new in names:
        name = re.sub(old, new, name)
    return name


def prefixed(prefix: str, weights: Weights) -> Weights:
    return {prefix + name: weight for name, weight in weights.items()}
