"""How much there is room for, and what to do when that is little."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import psutil
import torch

from imagegen.engine.loading import Pipeline

Mode = Literal["off", "encoders", "offload", "layers"]
# What the GPU needs besides weights: the picture while it is made, and what CUDA takes for itself.
RESERVE = 2.5e9
# GPUs with less than this decode pictures in tiles.
SMALL = 12e9
CGROUP = Path("/sys/fs/cgroup/memory.max")


def gpu_budget(device: torch.device, wanted_gb: float | None) -> float:
    """Bytes on the device that models may take."""
    if wanted_gb is not None:
        return wanted_gb * 1e9
    if device.type == "cuda":
        return max(float(torch.cuda.get_device_properties(device).total_memory) - RESERVE, 1e9)
    return memory_budget(None)


def memory_budget(wanted_gb: float | None) -> float:
    """Bytes of main memory that models may take: half of what there is, or of what the container may use."""
    if wanted_gb is not None:
        return wanted_gb * 1e9
    total = float(psutil.virtual_memory().total)
    with suppress(OSError, ValueError):
        total = min(total, float(CGROUP.read_text()))
    return total / 2


def chosen_mode(wanted: str, sizes: dict[str, int], budget: float) -> Mode:
    """The fastest way to fit a model, whose parts have these sizes in bytes, into a budget."""
    if wanted in ("off", "encoders", "offload", "layers"):
        return wanted  # type: ignore[return-value]
    encoders = sum(size for part, size in sizes.items() if part.startswith("text_encoder"))
    whole = sum(sizes.values())
    if whole <= budget:
        return "off"
    if max(whole - encoders, encoders) <= budget:
        return "encoders"
    return "offload" if max(sizes.values()) <= budget else "layers"


def sizes_of(pipeline: Pipeline) -> dict[str, int]:
    """Bytes by part."""
    return {
        name: sum(tensor.nbytes for tensor in (*part.parameters(), *part.buffers()))
        for name, part in pipeline.components.items()
        if isinstance(part, torch.nn.Module)
    }


def save_decoding(pipeline: Pipeline) -> None:
    """Pictures are decoded one at a time and in tiles, where the autoencoder can."""
    for way in ("enable_slicing", "enable_tiling"):
        with suppress(NotImplementedError, AttributeError):
            getattr(pipeline.vae, way)()


def give_back() -> None:
    """What is not used any more goes back to the device and to the system, not only to the allocators."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


class EncodersAside:
    """Text encoders that are on the device only until the denoiser begins."""

    def __init__(self, pipeline: Pipeline, denoiser: str, device: torch.device) -> None:
        parts = pipeline.components.items()
        self.encoders = [part for name, part in parts if name.startswith("text_encoder") and part is not None]
        self.device = device
        getattr(pipeline, denoiser).register_forward_pre_hook(lambda *_: self.away())

    def bring(self) -> None:
        self._move(self.device)

    def away(self) -> None:
        self._move(torch.device("cpu"))

    def _move(self, device: torch.device) -> None:
        for encoder in self.encoders:
            if encoder.device.type != device.type:
                encoder.to(device)


def place(pipeline: Pipeline, mode: Mode, device: torch.device, denoiser: str) -> Any:
    """Brings a pipeline to the device as its mode says. For "encoders", returns who moves them."""
    match mode:
        case "off":
            pipeline.to(device)
        case "encoders":
            aside = EncodersAside(pipeline, denoiser, device)
            for part in pipeline.components.values():
                if isinstance(part, torch.nn.Module) and part not in aside.encoders:
                    part.to(device)
            return aside
        case "offload":
            pipeline.enable_model_cpu_offload(device=device)
        case "layers":
            pipeline.enable_group_offload(
                onload_device=device, offload_device=torch.device("cpu"), offload_type="leaf_level"
            )
    return None
