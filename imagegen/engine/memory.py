"""How much there is room for, and what to do when that is little."""

from __future__ import annotations

import ctypes
import gc
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import psutil
import torch

from imagegen.engine.loading import Pipeline, variant_of
from imagegen.errors import OutOfMemory
from imagegen.info import ModelSource
from imagegen.library.families import FAMILIES
from imagegen.library.weights import components, head

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


def memory_budget(wanted_gb: float | None, share: float = 0.5) -> float:
    """Bytes of main memory that models may take: a share of what there is, or of what the container may use."""
    if wanted_gb is not None:
        return wanted_gb * 1e9
    total = float(psutil.virtual_memory().total)
    with suppress(OSError, ValueError):
        total = min(total, float(CGROUP.read_text()))
    return total * share


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


def at_once(sizes: dict[str, int], mode: Mode) -> int:
    """How many bytes of a model are on the device at once."""
    encoders = sum(size for part, size in sizes.items() if part.startswith("text_encoder"))
    whole = sum(sizes.values())
    return {
        "off": whole,
        "encoders": max(whole - encoders, encoders),
        "offload": max(sizes.values()),
        "layers": whole // 10,
    }[mode]


def expected_size(source: ModelSource, dtype: torch.dtype) -> int:
    """Bytes that a model will take in memory, before it is loaded. 0 where its files do not say."""
    folder = source.path if source.path.is_dir() else source.config
    denoiser = FAMILIES[source.pipeline].denoiser
    try:
        files = [source.path] if source.path.is_file() else []
        if folder is not None:
            variant = variant_of(folder / denoiser)
            parts = [part for part in components(folder) if source.path.is_dir() or part != denoiser]
            found = (file for part in parts for file in (folder / part).glob("*.safetensors"))
            files += [file for file in found if variant is None or f".{variant}" in file.name]
        return sum(head(file).numbers for file in files if file.suffix == ".safetensors") * dtype.itemsize
    except (OSError, ValueError):
        return 0


def networks_of(pipeline: Pipeline) -> list[torch.nn.Module]:
    return [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]


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


def is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA has an error of its own for it; a CPU, MPS, cuBLAS and cuDNN say it in words."""
    words = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(part in str(error) for part in words)


@contextmanager
def in_memory() -> Iterator[None]:
    """Raises OutOfMemory for what torch says of it, and keeps no frame alive that still holds the memory."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        raise OutOfMemory from None


def give_back() -> None:
    """What is not used any more goes back to the device and to the system, not only to the allocators."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch._C._host_emptyCache()  # noqa: SLF001 As torch.cuda.graph does: pinned memory has a cache of its own.
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


class EncodersAside:
    """Text encoders and denoiser take turns on the device: the ones while they encode, the other from then on."""

    def __init__(self, pipeline: Pipeline, denoiser: str, device: torch.device) -> None:
        parts = pipeline.components.items()
        self.encoders = [part for name, part in parts if name.startswith("text_encoder") and part is not None]
        self.denoiser, self.device, self.aside = getattr(pipeline, denoiser), device, torch.device("cpu")
        self.denoiser.register_forward_pre_hook(lambda *_: self.denoise())

    def encode(self) -> None:
        """Before a job."""
        moved([self.denoiser], self.aside)
        moved(self.encoders, self.device)

    def denoise(self) -> None:
        """Before each step; only the first has anything to do."""
        moved(self.encoders, self.aside)
        moved([self.denoiser], self.device)


def moved(networks: Iterable[torch.nn.Module], device: torch.device) -> None:
    for network in networks:
        if next(network.parameters()).device.type != device.type:
            network.to(device)


def place(pipeline: Pipeline, mode: Mode, device: torch.device, denoiser: str) -> Any:
    """Brings a pipeline to the device as its mode says. For "encoders", returns who moves them."""
    match mode:
        case "off":
            pipeline.to(device)
        case "encoders":
            aside = EncodersAside(pipeline, denoiser, device)
            together = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
            moved([part for part in together if part not in (*aside.encoders, aside.denoiser)], device)
            return aside
        case "offload":
            pipeline.enable_model_cpu_offload(device=device)
        case "layers":
            pipeline.enable_group_offload(
                onload_device=device, offload_device=torch.device("cpu"), offload_type="leaf_level"
            )
    return None
