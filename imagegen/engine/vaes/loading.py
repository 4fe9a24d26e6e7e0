"""Reads a VAE from disk, and shares its calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from torch import Tensor, nn

from imagegen.engine.batching.network import BatchedNetwork
from imagegen.engine.batching.proxies import create_decoder_network
from imagegen.engine.log_filters import suppress_messages
from imagegen.engine.models.network_cache import NetworkKind
from imagegen.engine.models.network_files import check_converted, read_weights, rename_attention
from imagegen.engine.models.safe_configs import remove_code
from imagegen.library.checkpoint_detection import CONFIGS_DIR
from imagegen.library.family_facts import STABLE_DIFFUSION_XL
from imagegen.library.network_index import CONFIG_FILE, has_config, read_network_config
from imagegen.library.vae_latents import is_vae
from imagegen.library.weight_files import read_header
from imagegen.schema.models import UNKNOWN_ARCHITECTURE, AdapterSource

CLASSES: Mapping[str, Any] = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}


def read_vae(source: AdapterSource) -> tuple[nn.Module, Mapping[str, Tensor]]:
    """Returns a network without memory, and its weights. Raises ValueError, and what safetensors and diffusers raise.

    Its precision is chosen once, so that its configuration asks for no other.
    """
    weights: Mapping[str, Tensor] = read_weights(source.path)
    config = read_vae_config(source)
    vae_class = CLASSES[config.get("_class_name", "AutoencoderKL")]
    with (
        torch.device("meta"),
        suppress_messages("diffusers.configuration_utils", "The config attributes {'block_out_channels'"),
    ):
        network = vae_class.from_config(config | {"force_upcast": False})
    if is_vae(read_header(source.path)):
        weights = check_converted(weights, convert_ldm_vae_checkpoint(weights, network.config))
    else:
        weights = {rename_attention(name): each for name, each in weights.items()}
    return network, weights


def read_vae_config(source: AdapterSource) -> dict[str, Any]:
    """Returns the configuration beside the weights, else that of Stable Diffusion. Raises OSError and ValueError."""
    if has_config(source.path):
        own: dict[str, Any] = remove_code(read_network_config(source.path))
        return own
    folder = "sd-xl" if source.architecture == STABLE_DIFFUSION_XL.name else "sd-1"
    config: dict[str, Any] = json.loads((CONFIGS_DIR / folder / "vae" / CONFIG_FILE).read_bytes())
    return config


def choose_vae_dtype(source: AdapterSource, dtype: torch.dtype) -> torch.dtype:
    """Returns float32 instead of float16 for a VAE whose numbers overflow there, or may do so."""
    if dtype != torch.float16:
        return dtype
    may_overflow = read_vae_config(source).get("force_upcast") or source.architecture == UNKNOWN_ARCHITECTURE
    return torch.float32 if may_overflow else dtype


def share_vae(network: Any) -> BatchedNetwork:
    """Returns the network whose calls are batched: its decoder."""
    return create_decoder_network(network, None)


VAES = NetworkKind(read_vae, share_vae, choose_vae_dtype)
