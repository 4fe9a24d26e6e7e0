"""IP-Adapters and their image encoders: networks that make keys and values of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers.loaders.unet import UNet2DConditionLoadersMixin
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from imagegen.engine.models.network_cache import NetworkKind
from imagegen.engine.models.safe_configs import remove_code
from imagegen.library.ip_adapter_architectures import (
    ATTENTION_PATTERN,
    MAX_TOKENS,
    PROJECTION_PREFIX,
    EncoderOutput,
    detect_ip_adapter,
)
from imagegen.library.network_index import read_network_config
from imagegen.library.weight_files import read_header
from imagegen.schema.models import AdapterSource

# A table of numbers that older versions of transformers saved with the weights.
POSITION_IDS = "vision_model.embeddings.position_ids"


class IpAdapter(nn.Module):
    """Makes keys and values of what an image encoder says of a picture, for each cross-attention of a UNet.

    `encoder_output` is what it takes of the encoder.
    """

    def __init__(
        self, projection: nn.Module, key_shapes: Sequence[tuple[int, int]], encoder_output: EncoderOutput
    ) -> None:
        super().__init__()
        self.projection, self.encoder_output = projection, encoder_output
        self.to_k_ip = nn.ModuleList(nn.Linear(width, out, bias=False) for out, width in key_shapes)
        self.to_v_ip = nn.ModuleList(nn.Linear(width, out, bias=False) for out, width in key_shapes)

    def forward(self, embeds: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Returns keys and values for each cross-attention, of shape (n, MAX_TOKENS, width), of embeddings (n, …).

        Fewer tokens are repeated: an attention to the same tokens several times is that to each once.
        """
        tokens: Tensor = self.projection(embeds)
        tokens = tokens.repeat(1, MAX_TOKENS // tokens.shape[1], 1)
        return [(to_k(tokens), to_v(tokens)) for to_k, to_v in zip(self.to_k_ip, self.to_v_ip, strict=True)]


def read_ip_adapter(source: AdapterSource) -> tuple[nn.Module, Mapping[str, Tensor]]:
    """Returns a network without memory, and its weights.

    Raises UnknownIpAdapter, which is a ValueError, and what safetensors and diffusers raise.
    """
    facts = detect_ip_adapter(read_header(source.path))
    weights = load_file(source.path)
    projection = convert_projection(
        {
            name.removeprefix(PROJECTION_PREFIX): each.float()
            for name, each in weights.items()
            if name.startswith(PROJECTION_PREFIX)
        }
    )
    converted = {f"projection.{name}": each for name, each in projection.state_dict().items()}
    converted |= {rename_attention(name): each for name, each in weights.items() if ATTENTION_PATTERN.fullmatch(name)}
    layers = sum(name.startswith("to_k_ip.") for name in converted)
    shapes = [tuple(converted[f"to_k_ip.{layer}.weight"].shape) for layer in range(layers)]
    with torch.device("meta"):
        network = IpAdapter(projection.to("meta"), [(out, width) for out, width in shapes], facts.encoder_output)
    return network, converted


def convert_projection(weights: Mapping[str, Tensor]) -> nn.Module:
    """Returns the projection of an IP-Adapter with its weights, by their names in the file."""
    mixin: Any = UNet2DConditionLoadersMixin
    projection: nn.Module = mixin._convert_ip_adapter_image_proj_to_diffusers(  # noqa: SLF001 There is no public one.
        None, weights, low_cpu_mem_usage=False
    )
    return projection


def rename_attention(name: str) -> str:
    """Returns the name of keys or values in IpAdapter: the files number all attentions, and have those in between."""
    match = ATTENTION_PATTERN.fullmatch(name)
    assert match is not None
    return f"to_{match[2]}_ip.{int(match[1]) // 2}.weight"


def read_image_encoder(source: AdapterSource) -> tuple[nn.Module, Mapping[str, Tensor]]:
    """Returns a network without memory but for its tables, and its weights. Raises OSError and ValueError."""
    config = CLIPVisionConfig.from_dict(remove_code(read_network_config(source.path)))
    with init_empty_weights(include_buffers=False):
        network: nn.Module = CLIPVisionModelWithProjection(config)
    weights = load_file(source.path)
    weights.pop(POSITION_IDS, None)
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
