"""IP-Adapters and their image encoders: networks that make keys and values of pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.embeddings import ImageProjection, IPAdapterPlusImageProjection
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from imagegen.engine.models.network_cache import NetworkKind
from imagegen.engine.models.network_files import read_weights
from imagegen.engine.models.safe_configs import remove_code
from imagegen.library.ip_adapter_architectures import (
    ATTENTION_PATTERN,
    FLUX_ATTENTION_PATTERN,
    FLUX_PROJECTION_PREFIX,
    MAX_TOKENS,
    PROJECTION_PREFIX,
    EncoderOutput,
    IpAdapterFacts,
    detect_ip_adapter,
)
from imagegen.library.ip_adapters import find_encoder_config
from imagegen.library.network_index import read_network_config
from imagegen.library.weight_files import read_header
from imagegen.schema.models import AdapterSource

# The names of tensors in diffusers' classes: those of a plain projection, and of the layers of a resampler.
PLAIN_RENAMED = {"proj.weight": "image_embeds.weight", "proj.bias": "image_embeds.bias"}
LAYER_PATTERN = re.compile(r"layers\.(\d+)\.(\d\.\w+)\.(weight|bias)")
LAYER_PARTS = {
    "0.norm1": "ln0",
    "0.norm2": "ln1",
    "0.to_q": "attn.to_q",
    "0.to_out": "attn.to_out.0",
    "1.0": "ff.0",
    "1.1": "ff.1.net.0.proj",
    "1.3": "ff.1.net.2",
}
# Of an attention head of a resampler, in all that are published.
HEAD_WIDTH = 64
# A table of numbers that older versions of transformers saved with the weights.
POSITION_IDS = "vision_model.embeddings.position_ids"
# What the names of tensors begin with that CLIP has for texts.
TEXT_ENCODER_NAMES = ("text_model.", "text_projection.", "logit_scale")


class IpAdapter(nn.Module):
    """Makes keys and values of what an image encoder says of a picture, for each attention to references of a denoiser.

    `encoder_output` is what it takes of the encoder. Those for FLUX.1 have a bias.
    """

    def __init__(
        self,
        projection: nn.Module,
        key_shapes: Sequence[tuple[int, int]],
        encoder_output: EncoderOutput,
        has_bias: bool,
    ) -> None:
        super().__init__()
        self.projection, self.encoder_output = projection, encoder_output
        self.to_k_ip = nn.ModuleList(nn.Linear(width, out, bias=has_bias) for out, width in key_shapes)
        self.to_v_ip = nn.ModuleList(nn.Linear(width, out, bias=has_bias) for out, width in key_shapes)

    def forward(self, embeds: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Returns keys and values for each attention, of shape (n, MAX_TOKENS, width), of embeddings (n, …).

        Fewer tokens are repeated: an attention to the same tokens several times is that to each once.
        """
        tokens: Tensor = self.projection(embeds)
        tokens = tokens.repeat(1, MAX_TOKENS // tokens.shape[1], 1)
        return [(to_k(tokens), to_v(tokens)) for to_k, to_v in zip(self.to_k_ip, self.to_v_ip, strict=True)]


def read_ip_adapter(source: AdapterSource) -> tuple[nn.Module, Mapping[str, Tensor]]:
    """Returns a network without memory, and its weights.

    Raises UnknownIpAdapter, which is a ValueError, and what safetensors raises.
    """
    facts = detect_ip_adapter(read_header(source.path))
    weights: dict[str, Tensor] = {}
    for name, tensor in load_file(source.path).items():
        weights |= rename_tensor(name, tensor)
    key_shapes = list_key_shapes(weights)
    with torch.device("meta"):
        projection = create_projection(weights, facts)
        network = IpAdapter(projection, key_shapes, facts.encoder_output, "to_k_ip.0.bias" in weights)
    return network, weights


def list_key_shapes(weights: Mapping[str, Tensor]) -> list[tuple[int, int]]:
    """Returns the shapes of the weights for keys, in the order of the attentions. Raises ValueError."""
    count = sum(name.startswith("to_k_ip.") and name.endswith(".weight") for name in weights)
    return [(out, width) for out, width in (weights[f"to_k_ip.{layer}.weight"].shape for layer in range(count))]


def create_projection(weights: Mapping[str, Tensor], facts: IpAdapterFacts) -> nn.Module:
    """Returns the projection of an IP-Adapter, whose sizes are those of its weights."""
    if facts.encoder_output == "projection":
        width = len(weights["projection.norm.weight"])
        return ImageProjection(facts.encoder_width, width, facts.tokens)  # type: ignore[no-any-return]
    return IPAdapterPlusImageProjection(  # type: ignore[no-any-return]
        embed_dims=facts.encoder_width,
        output_dims=len(weights["projection.proj_out.weight"]),
        hidden_dims=weights["projection.latents"].shape[2],
        heads=len(weights["projection.layers.0.attn.to_q.weight"]) // HEAD_WIDTH,
        num_queries=facts.tokens,
    )


def rename_tensor(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Returns a tensor of a file by its name in IpAdapter; keys and values of a resampler are one tensor in the file.

    The files number all attentions of a UNet, and have the cross-attentions, which are those with odd numbers. Files
    for FLUX.1 number its blocks.
    """
    block = FLUX_ATTENTION_PATTERN.fullmatch(name)
    if block is not None:
        return {f"to_{block[2]}_ip.{block[1]}.{block[3]}": tensor}
    attention = ATTENTION_PATTERN.fullmatch(name)
    if attention is not None:
        return {f"to_{attention[2]}_ip.{int(attention[1]) // 2}.weight": tensor}
    name = name.removeprefix(PROJECTION_PREFIX).removeprefix(FLUX_PROJECTION_PREFIX)
    layer = LAYER_PATTERN.fullmatch(name)
    if layer is None:
        return {f"projection.{PLAIN_RENAMED.get(name, name)}": tensor}
    prefix = f"projection.layers.{layer[1]}"
    if layer[2] == "0.to_kv":
        keys, values = tensor.chunk(2)
        return {f"{prefix}.attn.to_k.weight": keys, f"{prefix}.attn.to_v.weight": values}
    return {f"{prefix}.{LAYER_PARTS[layer[2]]}.{layer[3]}": tensor}


def read_image_encoder(source: AdapterSource) -> tuple[nn.Module, Mapping[str, Tensor]]:
    """Returns a network without memory but for a table of positions, and its weights. Raises OSError and ValueError.

    A text encoder in the same file is left out.
    """
    found = find_encoder_config(read_network_config(source.path))
    if found is None:
        raise ValueError("it is no image encoder")
    config = CLIPVisionConfig.from_dict(remove_code(dict(found)))
    with torch.device("meta"):
        network: Any = CLIPVisionModelWithProjection(config)
    embeddings = network.vision_model.embeddings
    embeddings.position_ids = torch.arange(embeddings.num_positions).unsqueeze(0)
    weights = {
        name: tensor
        for name, tensor in read_weights(source.path).items()
        if name != POSITION_IDS and not name.startswith(TEXT_ENCODER_NAMES)
    }
    return network, weights


IP_ADAPTERS = NetworkKind(read_ip_adapter)
IMAGE_ENCODERS = NetworkKind(read_image_encoder)


@dataclass(frozen=True)
class Embeds:
    """What an image encoder says of a picture, and of none, each with one row."""

    picture: Tensor
    nothing: Tensor


def encode_picture(encoder: Any, pixels: Tensor, output: EncoderOutput) -> Embeds:
    """Returns what an IP-Adapter gets of a picture of shape (1, 3, side, side), as diffusers' `encode_image` does."""
    if output == "projection":
        embeds: Tensor = encoder(pixels).image_embeds
        return Embeds(embeds, torch.zeros_like(embeds))
    both = [encoder(each, output_hidden_states=True).hidden_states[-2] for each in (pixels, torch.zeros_like(pixels))]
    return Embeds(*both)
