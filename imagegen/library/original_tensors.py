"""The tensors of checkpoints in their original formats: names and shapes, by the configuration of each network.

The layouts are those of the first releases: of CompVis and Stability AI for Stable Diffusion
(https://github.com/Stability-AI/generative-models), of OpenCLIP (https://github.com/mlfoundations/open_clip) and of
Black Forest Labs for FLUX.1 (https://github.com/black-forest-labs/flux). The configurations are those of diffusers and
transformers. Nothing here needs torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

Shape = tuple[int, ...]
Tensor = tuple[str, Shape]
Config = Mapping[str, Any]

UNET_PREFIX = "model.diffusion_model."
AUTOENCODER_PREFIX = "first_stage_model."
CLIP_PREFIX = "cond_stage_model.transformer."
OPEN_CLIP_PREFIX = "cond_stage_model.model."
XL_CLIP_PREFIX = "conditioner.embedders.0.transformer."
XL_OPEN_CLIP_PREFIX = "conditioner.embedders.1.model."


def list_stable_diffusion(folder: Path, in_channels: int, open_clip: bool = False) -> dict[str, Shape]:
    """Returns the tensors of a checkpoint whose configuration is in a folder in diffusers format.

    `in_channels` are those of its denoiser; with `open_clip`, its one text encoder is in OpenCLIP's layout.

    Raises OSError, ValueError and LookupError for another configuration.
    """
    unet = read_config(folder / "unet") | {"in_channels": in_channels}
    tensors = add_prefix(UNET_PREFIX, list_unet(unet))
    tensors |= add_prefix(AUTOENCODER_PREFIX, list_autoencoder(read_config(folder / "vae")))
    first = read_config(folder / "text_encoder")
    if (folder / "text_encoder_2").is_dir():
        tensors |= add_prefix(XL_CLIP_PREFIX, list_clip(first))
        return tensors | add_prefix(XL_OPEN_CLIP_PREFIX, list_open_clip(read_config(folder / "text_encoder_2")))
    if open_clip:
        used = ((name, shape) for name, shape in list_open_clip(first) if name != "text_projection")
        return tensors | add_prefix(OPEN_CLIP_PREFIX, used)
    return tensors | add_prefix(CLIP_PREFIX, list_clip(first))


def read_config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    return config


def add_prefix(prefix: str, tensors: Iterable[Tensor]) -> dict[str, Shape]:
    return {prefix + name: shape for name, shape in tensors}


def list_linear(name: str, inputs: int, outputs: int, bias: bool = True) -> Iterator[Tensor]:
    yield f"{name}.weight", (outputs, inputs)
    if bias:
        yield f"{name}.bias", (outputs,)


def list_convolution(name: str, inputs: int, outputs: int, side: int = 3) -> Iterator[Tensor]:
    yield f"{name}.weight", (outputs, inputs, side, side)
    yield f"{name}.bias", (outputs,)


def list_norm(name: str, width: int) -> Iterator[Tensor]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def list_unet(config: Config) -> Iterator[Tensor]:
    """Yields the tensors of the UNet of Stable Diffusion 1, 2 or XL."""
    widths: list[int] = config["block_out_channels"]
    layers, time = int(config.get("layers_per_block", 2)), widths[0] * 4
    depths = get_depths(config)
    attends = [kind.startswith("CrossAttn") for kind in config["down_block_types"]]
    yield from list_linear("time_embed.0", widths[0], time)
    yield from list_linear("time_embed.2", time, time)
    if config.get("addition_embed_type") == "text_time":
        yield from list_linear("label_emb.0.0", config["projection_class_embeddings_input_dim"], time)
        yield from list_linear("label_emb.0.2", time, time)
    yield from list_convolution("input_blocks.0.0", config["in_channels"], widths[0])
    skipped, number, width = [widths[0]], 0, widths[0]
    for level, outputs in enumerate(widths):
        for _ in range(layers):
            number += 1
            yield from list_residual(f"input_blocks.{number}.0", width, outputs, time)
            if attends[level]:
                yield from list_attention(f"input_blocks.{number}.1", outputs, depths[level], config)
            width = outputs
            skipped.append(width)
        if level < len(widths) - 1:
            number += 1
            yield from list_convolution(f"input_blocks.{number}.0.op", width, width)
            skipped.append(width)
    yield from list_residual("middle_block.0", width, width, time)
    yield from list_attention("middle_block.1", width, depths[-1], config)
    yield from list_residual("middle_block.2", width, width, time)
    number = 0
    for level in reversed(range(len(widths))):
        for layer in range(layers + 1):
            yield from list_residual(f"output_blocks.{number}.0", width + skipped.pop(), widths[level], time)
            width = widths[level]
            if attends[level]:
                yield from list_attention(f"output_blocks.{number}.1", width, depths[level], config)
            if layer == layers and level > 0:
                yield from list_convolution(f"output_blocks.{number}.{1 + attends[level]}.conv", width, width)
            number += 1
    yield from list_norm("out.0", width)
    yield from list_convolution("out.2", width, config.get("out_channels", 4))


def get_depths(config: Config) -> list[int]:
    """Returns how many transformer blocks the attention layers of each level have."""
    depths = config.get("transformer_layers_per_block", 1)
    return depths if isinstance(depths, list) else [depths] * len(config["block_out_channels"])


def list_residual(name: str, inputs: int, outputs: int, time: int) -> Iterator[Tensor]:
    yield from list_norm(f"{name}.in_layers.0", inputs)
    yield from list_convolution(f"{name}.in_layers.2", inputs, outputs)
    yield from list_linear(f"{name}.emb_layers.1", time, outputs)
    yield from list_norm(f"{name}.out_layers.0", outputs)
    yield from list_convolution(f"{name}.out_layers.3", outputs, outputs)
    if inputs != outputs:
        yield from list_convolution(f"{name}.skip_connection", inputs, outputs, side=1)


def list_attention(name: str, width: int, depth: int, config: Config) -> Iterator[Tensor]:
    yield from list_norm(f"{name}.norm", width)
    yield from list_linear(f"{name}.proj_in", width, width)
    for number in range(depth):
        block = f"{name}.transformer_blocks.{number}"
        for attention, context in (("attn1", width), ("attn2", config["cross_attention_dim"])):
            yield from list_linear(f"{block}.{attention}.to_q", width, width, bias=False)
            yield from list_linear(f"{block}.{attention}.to_k", context, width, bias=False)
            yield from list_linear(f"{block}.{attention}.to_v", context, width, bias=False)
            yield from list_linear(f"{block}.{attention}.to_out.0", width, width)
        yield from list_linear(f"{block}.ff.net.0.proj", width, width * 8)
        yield from list_linear(f"{block}.ff.net.2", width * 4, width)
        for norm in ("norm1", "norm2", "norm3"):
            yield from list_norm(f"{block}.{norm}", width)
    yield from list_linear(f"{name}.proj_out", width, width)


def list_autoencoder(config: Config) -> Iterator[Tensor]:
    """Yields the tensors of an AutoencoderKL."""
    widths: list[int] = config["block_out_channels"]
    layers, channels = int(config.get("layers_per_block", 1)), int(config.get("latent_channels", 4))
    top = len(widths) - 1
    yield from list_convolution("encoder.conv_in", config.get("in_channels", 3), widths[0])
    width = widths[0]
    for level, outputs in enumerate(widths):
        for layer in range(layers):
            yield from list_autoencoder_block(f"encoder.down.{level}.block.{layer}", width, outputs)
            width = outputs
        if level < top:
            yield from list_convolution(f"encoder.down.{level}.downsample.conv", width, width)
    yield from list_autoencoder_middle("encoder", width, 2 * channels)
    yield from list_convolution("decoder.conv_in", channels, width)
    for level in reversed(range(len(widths))):
        for layer in range(layers + 1):
            yield from list_autoencoder_block(f"decoder.up.{level}.block.{layer}", width, widths[level])
            width = widths[level]
        if level > 0:
            yield from list_convolution(f"decoder.up.{level}.upsample.conv", width, width)
    yield from list_autoencoder_middle("decoder", widths[top], config.get("out_channels", 3), width)
    if config.get("use_quant_conv", True):
        yield from list_convolution("quant_conv", 2 * channels, 2 * channels, side=1)
    if config.get("use_post_quant_conv", True):
        yield from list_convolution("post_quant_conv", channels, channels, side=1)


def list_autoencoder_middle(part: str, width: int, outputs: int, last_width: int | None = None) -> Iterator[Tensor]:
    """Yields the tensors in the middle of an encoder or a decoder, and those of its last layer."""
    for block in (1, 2):
        yield from list_autoencoder_block(f"{part}.mid.block_{block}", width, width)
    yield from list_norm(f"{part}.mid.attn_1.norm", width)
    for layer in ("q", "k", "v", "proj_out"):
        yield from list_linear(f"{part}.mid.attn_1.{layer}", width, width)
    yield from list_norm(f"{part}.norm_out", last_width or width)
    yield from list_convolution(f"{part}.conv_out", last_width or width, outputs)


def list_autoencoder_block(name: str, inputs: int, outputs: int) -> Iterator[Tensor]:
    yield from list_norm(f"{name}.norm1", inputs)
    yield from list_convolution(f"{name}.conv1", inputs, outputs)
    yield from list_norm(f"{name}.norm2", outputs)
    yield from list_convolution(f"{name}.conv2", outputs, outputs)
    if inputs != outputs:
        yield from list_convolution(f"{name}.nin_shortcut", inputs, outputs, side=1)


def list_clip(config: Config) -> Iterator[Tensor]:
    """Yields the tensors of a text encoder in the layout of transformers."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    yield "text_model.embeddings.token_embedding.weight", (config["vocab_size"], width)
    yield "text_model.embeddings.position_embedding.weight", (config["max_position_embeddings"], width)
    for number in range(config["num_hidden_layers"]):
        layer = f"text_model.encoder.layers.{number}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from list_linear(f"{layer}.self_attn.{part}", width, width)
        yield from list_norm(f"{layer}.layer_norm1", width)
        yield from list_norm(f"{layer}.layer_norm2", width)
        yield from list_linear(f"{layer}.mlp.fc1", width, inner)
        yield from list_linear(f"{layer}.mlp.fc2", inner, width)
    yield from list_norm("text_model.final_layer_norm", width)


def list_open_clip(config: Config) -> Iterator[Tensor]:
    """Yields the tensors of a text encoder in the layout of OpenCLIP, where queries, keys and values are one matrix."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    yield "token_embedding.weight", (config["vocab_size"], width)
    yield "positional_embedding", (config["max_position_embeddings"], width)
    for number in range(config["num_hidden_layers"]):
        layer = f"transformer.resblocks.{number}"
        yield f"{layer}.attn.in_proj_weight", (3 * width, width)
        yield f"{layer}.attn.in_proj_bias", (3 * width,)
        yield from list_linear(f"{layer}.attn.out_proj", width, width)
        yield from list_norm(f"{layer}.ln_1", width)
        yield from list_norm(f"{layer}.ln_2", width)
        yield from list_linear(f"{layer}.mlp.c_fc", width, inner)
        yield from list_linear(f"{layer}.mlp.c_proj", inner, width)
    yield from list_norm("ln_final", width)
    yield "text_projection", (width, config.get("projection_dim", width))


def list_flux(folder: Path, in_channels: int) -> dict[str, Shape]:
    """Returns the tensors of the denoiser of FLUX.1, by the model in a folder. `in_channels` are those of the file.

    Raises OSError, ValueError and LookupError for another configuration.
    """
    config = read_config(folder / "transformer")
    head = config["attention_head_dim"]
    width = head * config["num_attention_heads"]
    tensors = dict(list_linear("img_in", in_channels, width))
    tensors |= dict(list_linear("txt_in", config["joint_attention_dim"], width))
    embedders = {"time_in": 256, "vector_in": config["pooled_projection_dim"]}
    for name, inputs in (embedders | ({"guidance_in": 256} if config.get("guidance_embeds") else {})).items():
        tensors |= dict(list_linear(f"{name}.in_layer", inputs, width))
        tensors |= dict(list_linear(f"{name}.out_layer", width, width))
    for number in range(config["num_layers"]):
        tensors |= dict(list_flux_double(f"double_blocks.{number}", width, head))
    for number in range(config["num_single_layers"]):
        tensors |= dict(list_flux_single(f"single_blocks.{number}", width, head))
    tensors |= dict(list_linear("final_layer.linear", width, config.get("out_channels") or config["in_channels"]))
    return tensors | dict(list_linear("final_layer.adaLN_modulation.1", width, 2 * width))


def list_flux_double(name: str, width: int, head: int) -> Iterator[Tensor]:
    for side in ("img", "txt"):
        yield from list_linear(f"{name}.{side}_mod.lin", width, 6 * width)
        yield from list_linear(f"{name}.{side}_attn.qkv", width, 3 * width)
        yield f"{name}.{side}_attn.norm.query_norm.scale", (head,)
        yield f"{name}.{side}_attn.norm.key_norm.scale", (head,)
        yield from list_linear(f"{name}.{side}_attn.proj", width, width)
        yield from list_linear(f"{name}.{side}_mlp.0", width, 4 * width)
        yield from list_linear(f"{name}.{side}_mlp.2", 4 * width, width)


def list_flux_single(name: str, width: int, head: int) -> Iterator[Tensor]:
    yield from list_linear(f"{name}.modulation.lin", width, 3 * width)
    yield from list_linear(f"{name}.linear1", width, 7 * width)
    yield from list_linear(f"{name}.linear2", 5 * width, width)
    yield f"{name}.norm.query_norm.scale", (head,)
    yield f"{name}.norm.key_norm.scale", (head,)
