"""The memory that a model takes, estimated from its files, and whether it fits into that of the workers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imagegen.library.families import get_family
from imagegen.library.weight_files import read_components, read_header
from imagegen.schema.models import ModelInfo, ModelSource, RunsHere, WorkerMemory

# `memory_gb` of a catalogue entry counts this many bytes for each weight.
CATALOGUE_BYTES_PER_WEIGHT = 2


def assess_fit(info: ModelInfo, source: ModelSource | None, workers: Sequence[WorkerMemory]) -> RunsHere | None:
    """Returns whether a model runs on the best of the workers; None without a worker, or for a model of unknown size.

    `source` is None for a model that is not on disk.
    """
    weights = count_weights(source) if source is not None and info.quantization is None else 0
    sizes = [(memory, estimate_bytes(info, weights, memory)) for memory in workers]
    known = [(memory, size) for memory, size in sizes if size is not None]
    if not known:
        return None
    if any(size <= memory.full_speed_bytes for memory, size in known):
        return "yes"
    return "slow" if any(size <= memory.max_bytes for memory, size in known) else "too large"


def estimate_bytes(info: ModelInfo, weights: int, memory: WorkerMemory) -> float | None:
    """Returns the bytes that a model takes on a worker; None if they are unknown. `weights` is 0 if unknown."""
    if weights:
        return weights * memory.bytes_per_weight
    if info.memory_gb is None:
        return None
    factor = 1 if info.quantization else memory.bytes_per_weight / CATALOGUE_BYTES_PER_WEIGHT
    return info.memory_gb * 1e9 * factor


def count_weights(source: ModelSource) -> int:
    """Returns how many weights a model has in memory, before it is loaded; 0 where its files do not say."""
    folder = source.path if source.path.is_dir() else source.config
    denoiser = get_family(source.pipeline).denoiser
    try:
        files = [source.path] if source.path.is_file() else []
        if folder is not None:
            variant = detect_variant(folder / denoiser)
            parts = [part for part in read_components(folder) if source.path.is_dir() or part != denoiser]
            found = (file for part in parts for file in (folder / part).glob("*.safetensors"))
            files += [file for file in found if variant is None or f".{variant}" in file.name]
        return sum(read_header(file).parameter_count for file in files if file.suffix == ".safetensors")
    except (OSError, ValueError):
        return 0


def detect_variant(denoiser: Path) -> str | None:
    """Returns the variant of the files in a folder: `fp16` for `diffusion_pytorch_model.fp16.safetensors`."""
    names = sorted(file.name for file in denoiser.glob("*.safetensors"))
    parts = [name.split(".")[1] for name in names if name.count(".") > 1]
    return parts[0].split("-")[0] if len(parts) == len(names) > 0 else None
