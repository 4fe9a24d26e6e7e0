"""The shortest time that a picture can take on a device: its counted operations over the device's peak rate."""

from __future__ import annotations

import inspect
import time
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

# Dense half precision, in TFLOP/s: what the best matrix products reach, not the data sheet's figure.
KNOWN_TFLOPS = {"H200": 790, "H100": 790, "A100": 270, "A10G": 70, "L40S": 300, "4090": 165}
MATMUL_SIDE = {"cuda": 8192, "cpu": 1024, "mps": 4096}


def measure_peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Returns operations per second: a known value for some GPUs, else measured with a large matrix product."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for model, teraflops in KNOWN_TFLOPS.items():
            if model in name:
                return teraflops * 1e12
    side = MATMUL_SIDE[device.type]
    a = torch.randn(side, side, device=device, dtype=dtype)
    best = 0.0
    for _ in range(5):
        synchronise(device)
        began = time.perf_counter()
        a @ a
        synchronise(device)
        best = max(best, 2 * side**3 / (time.perf_counter() - began))
    return best


def synchronise(device: torch.device) -> None:
    """Waits until all work on a GPU is finished."""
    if device.type == "cuda":
        torch.cuda.synchronize()


@torch.no_grad()
def count_flops(pipeline: Any, side: int, steps: int, guided: bool = True) -> int:
    """Returns the operations of a square picture by a Stable Diffusion pipeline: denoising and decoding.

    One multiply-add counts as two.
    """
    unet, vae = to_meta(pipeline.unet), to_meta(pipeline.vae)
    rows, latent_side = 1 + guided, side // pipeline.vae_scale_factor
    latents = torch.empty(rows, unet.config.in_channels, latent_side, latent_side, device="meta")
    text = torch.empty(rows, 77, unet.config.cross_attention_dim, device="meta")
    extra = {}
    if unet.config.addition_embed_type == "text_time":
        pooled = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
        embeds = {
            "text_embeds": torch.empty(rows, pooled, device="meta"),
            "time_ids": torch.empty(rows, 6, device="meta"),
        }
        extra["added_cond_kwargs"] = embeds
    with FlopCounterMode(display=False) as of_step:
        unet(latents, torch.empty(rows, device="meta"), text, **extra)
    with FlopCounterMode(display=False) as of_decoding:
        vae.decode(latents[:1])
    return int(of_step.get_total_flops() * steps + of_decoding.get_total_flops())


def to_meta(network: Any) -> Any:
    """Returns the same network without weights, on torch's meta device."""
    with torch.device("meta"):
        parameters = inspect.signature(type(network).__init__).parameters
        return type(network)(**{name: value for name, value in network.config.items() if name in parameters})
