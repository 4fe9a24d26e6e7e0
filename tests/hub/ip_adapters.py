"""Tiny IP-Adapters with random weights for the tiny models with a UNet, each with an image encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import FluxTransformer2DModel, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

HIDDEN, PROJECTED, TOKENS, RESAMPLER = 32, 24, 16, 64


def save_image_encoder(folder: Path, hidden: int = HIDDEN, projected: int = PROJECTED) -> None:
    """Saves an image encoder in diffusers format."""
    config = CLIPVisionConfig(
        hidden_size=hidden,
        intermediate_size=64,
        projection_dim=projected,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=28,
        patch_size=14,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        CLIPVisionModelWithProjection(config).half().save_pretrained(folder)


def save_ip_adapter(model: Path, file: Path, *, is_plus: bool = False, seed: int = 5, **extra: Tensor) -> None:
    """Saves an IP-Adapter for a model's UNet as its inventors did. It changes pictures clearly."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights = make_ip_adapter(model, is_plus=is_plus)
    save_file({name: each.half().contiguous() for name, each in (weights | extra).items()}, file)


def save_flux_ip_adapter(model: Path, file: Path, seed: int = 5, tokens: int = 4, **extra: Tensor) -> None:
    """Saves an IP-Adapter for a FLUX.1 as XLabs did. Beyond 4 tokens, the same 4 are repeated."""
    transformer = FluxTransformer2DModel.from_pretrained(model / "transformer")
    width, inner = int(transformer.config.joint_attention_dim), transformer.inner_dim
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        projection = dict(make_projection(width))
        weights = {
            f"double_blocks.{block}.processor.ip_adapter_double_stream_{part}_proj.{name}": 0.3 * torch.randn(*shape)
            for block in range(len(transformer.transformer_blocks))
            for part in "kv"
            for name, shape in (("weight", (inner, width)), ("bias", (inner,)))
        }
    for name in ("proj.weight", "proj.bias"):
        projection[name] = torch.cat([projection[name]] * (tokens // 4))
    weights |= {f"ip_adapter_proj_model.{name}": each for name, each in projection.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: each.half().contiguous() for name, each in (weights | extra).items()}, file)


def make_ip_adapter(model: Path, *, is_plus: bool) -> dict[str, Tensor]:
    unet = UNet2DConditionModel.from_pretrained(model / "unet")
    width = int(unet.config.cross_attention_dim)
    projection = make_resampler(width) if is_plus else make_projection(width)
    weights = {f"image_proj.{name}": each for name, each in projection.items()}
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    for number, name in enumerate(names):
        if name.endswith("attn2"):
            out = unet.get_submodule(name).to_k.out_features
            for part in "kv":
                weights[f"ip_adapter.{number}.to_{part}_ip.weight"] = 0.3 * torch.randn(out, width)
    return weights


def make_projection(width: int) -> Mapping[str, Tensor]:
    return {
        "proj.weight": torch.randn(4 * width, PROJECTED),
        "proj.bias": torch.randn(4 * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }


def make_resampler(width: int) -> Mapping[str, Tensor]:
    """Returns the projection of an IP-Adapter Plus, with one head of width 64."""
    size = RESAMPLER
    weights = {
        "latents": torch.randn(1, TOKENS, size),
        "proj_in.weight": torch.randn(size, HIDDEN),
        "proj_in.bias": torch.randn(size),
        "proj_out.weight": torch.randn(width, size),
        "proj_out.bias": torch.randn(width),
        "norm_out.weight": torch.ones(width),
        "norm_out.bias": torch.zeros(width),
    }
    for layer in range(4):
        names = ("0.norm1", "0.norm2", "1.0")
        norms = {f"{name}.{part}": torch.ones(size) for name in names for part in ("weight", "bias")}
        parts = {
            "0.to_q.weight": torch.randn(size, size) / 8,
            "0.to_kv.weight": torch.randn(2 * size, size) / 8,
            "0.to_out.weight": torch.randn(size, size) / 8,
            "1.1.weight": torch.randn(4 * size, size) / 8,
            "1.3.weight": torch.randn(size, 4 * size) / 16,
        }
        weights |= {f"layers.{layer}.{name}": each for name, each in {**norms, **parts}.items()}
    return weights
