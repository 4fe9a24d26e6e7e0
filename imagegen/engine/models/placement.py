"""Brings a loaded model to the device, and takes it off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from imagegen.engine.batching.proxies import SharedNetworks, share_networks
from imagegen.engine.compile.accelerator import CompilePool
from imagegen.engine.models.budget import MemoryBudget
from imagegen.engine.models.loaded import LoadedModel
from imagegen.engine.models.offload import place_pipeline
from imagegen.engine.models.out_of_memory import is_out_of_memory
from imagegen.engine.models.residency import Signature
from imagegen.engine.models.tiling import enable_tiles
from imagegen.engine.previews.fit import fit_projection
from imagegen.engine.previews.projection import Projection, find_projection

# GPUs that may hold less than this in bytes decode pictures in tiles.
SMALL_GPU_BYTES = 12e9


@dataclass(frozen=True)
class DeviceBuffers:
    """What a model leaves on the device: its tensors, and networks whose compiled code and graphs work on them."""

    signature: Signature
    tensors: list[Tensor]
    shared_networks: SharedNetworks


def place_on_device(
    model: LoadedModel, device: torch.device, buffers: DeviceBuffers | None, free_memory: Callable[[], bool]
) -> None:
    """Moves a model to the device as its mode says.

    If there is not enough memory, it tries once more after `free_memory`, which returns whether it freed any.
    """
    try:
        move_to_device(model, device, buffers)
    except RuntimeError as error:
        if model.mode != "off" or not is_out_of_memory(error) or not free_memory():
            raise
        move_to_device(model, device, buffers)


def move_to_device(model: LoadedModel, device: torch.device, buffers: DeviceBuffers | None) -> None:
    """Uses the device tensors in `buffers`, of a model with the same signature, if there are any."""
    if model.weights is not None:
        model.weights.copy_to_device(device, buffers.tensors if buffers is not None else None)
    else:
        model.encoder_offloader = place_pipeline(model.pipeline, model.mode, device, model.denoiser)


def finish_placement(
    model: LoadedModel, budget: MemoryBudget, compile_pool: CompilePool | None, buffers: DeviceBuffers | None
) -> None:
    """Sets what depends on the model being on the device: decoding, preview projection and shared networks."""
    if model.mode != "off" or (budget.has_device_memory and budget.device_bytes < SMALL_GPU_BYTES):
        enable_tiles(model.pipeline.vae)
    model.projection = model.projection or choose_projection(model)
    if model.mode != "off":
        return
    # Quantized weights are unpacked in each pass, each time at another place in memory.
    usable_pool = compile_pool if model.source.quantization is None else None
    model.shared_networks = share_networks(model.pipeline, model.family, model.denoiser_patcher, usable_pool)
    if buffers is not None:
        model.shared_networks.adopt_compiled(buffers.shared_networks)


def choose_projection(model: LoadedModel) -> Projection:
    """Returns the model's own projection, else its family's, else one that is fitted to its autoencoder."""
    folder = model.source.path if model.source.path.is_dir() else model.source.config or model.source.path
    config = model.pipeline.vae.config
    channels = int(config.get("latent_channels") or config["z_dim"])
    # Playground 2.5 has other latents than the rest of its family.
    has_own_latents = model.family.facts.denoiser == "unet" and config.get("latents_mean") is not None
    published = find_projection(folder, None if has_own_latents else model.family.preview_projection, channels)
    return published or fit_projection(model.pipeline, model.family)


def take_off_device(model: LoadedModel) -> DeviceBuffers:
    """Moves a model whose weights are also in main memory off the device. Returns what it leaves there."""
    assert model.weights is not None and model.shared_networks is not None
    model.clear_device_state()
    buffers = DeviceBuffers(model.weights.signature, model.weights.offload(), model.shared_networks)
    model.shared_networks, model.is_on_device = None, False
    return buffers
