"""Single-file checkpoints: whether one can be loaded, with which configuration, and how it was trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import get_args

from imagegen.library.checkpoint_detection import (
    CONFIGS_DIR,
    Checkpoint,
    ConfigName,
    UnsupportedCheckpoint,
    detect_checkpoint,
)
from imagegen.library.checkpoint_sidecar import SIDECAR_SUFFIX, read_sidecar
from imagegen.library.checkpoint_tensors import check_checkpoint
from imagegen.library.families import get_family
from imagegen.library.gguf_files import read_gguf_header
from imagegen.library.original_tensors import UNET_PREFIX
from imagegen.library.references import is_safe_path
from imagegen.library.training_statements import Training, check_edm_values, find_edm_config, read_training
from imagegen.library.weight_files import read_header

# Returns a complete model with the parts that a denoiser alone lacks, None if there is none. Its argument is whether
# the denoiser takes its guidance scale as an input.
FindBase = Callable[[bool], Path | None]
# A layer of Stable Diffusion XL that smaller versions lack, such as SSD-1B, Vega and KOALA.
DEEPEST_LAYER = f"{UNET_PREFIX}input_blocks.8.1.transformer_blocks.9.norm1.weight"


class BaseMissing(Exception):
    """The checkpoint is a denoiser alone, and no complete model on disk has the other parts."""


@dataclass(frozen=True)
class LoadableCheckpoint:
    """`config` is the folder with its configuration, and `training` what the scheduler must know beside it."""

    config: Path
    training: Training


def inspect_checkpoint(
    file: Path, pipeline: str, config: Path | None, said: Training, find_base: FindBase
) -> LoadableCheckpoint:
    """Returns how a checkpoint is loaded. `pipeline`, `config` and `said` are what the catalogue says of it.

    Raises UnsupportedCheckpoint with the reason for a file that cannot be loaded, BaseMissing, BrokenWeights, and what
    reading a configuration raises.
    """
    header = read_header(file)
    checkpoint = detect_checkpoint_file(file)
    check_pipeline(checkpoint, pipeline)
    sidecar = read_sidecar(file)
    said = Training(
        sidecar.prediction_type if said.prediction_type is None else said.prediction_type,
        sidecar.zero_snr if said.zero_snr is None else said.zero_snr,
    )
    config = config or find_config(sidecar.config, file)
    if checkpoint.config is None:
        folder, training = config or find_base(checkpoint.has_guidance), said
        if folder is None:
            raise BaseMissing
        if said != Training():
            raise UnsupportedCheckpoint("prediction_type and zero_snr are for Stable Diffusion 1, 2 and XL")
    else:
        training = read_training(file, header, checkpoint, said, has_config=config is not None)
        folder = config or CONFIGS_DIR / (find_edm_config(header) or choose_config(checkpoint.config, training))
        check_zero_snr(folder, training)
        check_edm_values(file, header, folder)
        if folder.parent == CONFIGS_DIR and checkpoint.config == "sd-xl" and DEEPEST_LAYER not in header.shapes:
            raise UnsupportedCheckpoint(
                "it is a smaller Stable Diffusion XL, such as SSD-1B; load a folder in diffusers format instead"
            )
    check_once(file, file.stat().st_mtime_ns, checkpoint, folder)
    return LoadableCheckpoint(folder, training)


def inspect_gguf(file: Path, pipeline: str, config: Path | None, find_base: FindBase) -> LoadableCheckpoint:
    """Returns how a denoiser in GGUF is loaded. Raises what `inspect_checkpoint` raises."""
    header = read_gguf_header(file)
    checkpoint = detect_checkpoint(header)
    check_pipeline(checkpoint, pipeline)
    folder = config or find_base(checkpoint.has_guidance)
    if folder is None:
        raise BaseMissing
    check_checkpoint(header, checkpoint, folder)
    return LoadableCheckpoint(folder, Training())


def detect_checkpoint_file(file: Path) -> Checkpoint:
    """Returns what a checkpoint is. Raises UnsupportedCheckpoint, BrokenWeights and OSError."""
    status = file.stat()
    return detect_file(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1024)
def detect_file(file: Path, _size: int, _modified: int) -> Checkpoint:
    """Returns what a checkpoint is. Size and modification time are part of the cache key."""
    return detect_checkpoint(read_header(file))


@lru_cache(maxsize=1024)
def check_once(file: Path, _modified: int, checkpoint: Checkpoint, folder: Path) -> None:
    """Checks the tensors of a file. A file that has passed is not checked again until it changes."""
    check_checkpoint(read_header(file), checkpoint, folder)


def check_pipeline(checkpoint: Checkpoint, pipeline: str) -> None:
    """Raises UnsupportedCheckpoint if the catalogue gives a file to a pipeline of another architecture."""
    if get_family(checkpoint.pipeline).architecture != get_family(pipeline).architecture:
        raise UnsupportedCheckpoint(f"it is for {checkpoint.pipeline}, and the catalogue says {pipeline}")


def find_config(name: str | None, file: Path) -> Path | None:
    """Returns the configuration that a sidecar names: a shipped one, or a folder beside it.

    Raises UnsupportedCheckpoint if there is none.
    """
    if name is None:
        return None
    folder = file.parent / name
    if is_safe_path(name) and (folder / "model_index.json").is_file():
        return folder
    if name not in get_args(ConfigName):
        known = ", ".join(get_args(ConfigName))
        sidecar = file.with_suffix(SIDECAR_SUFFIX).name
        raise UnsupportedCheckpoint(f"{sidecar} beside it: config must be {known}, or a folder in diffusers format")
    return CONFIGS_DIR / name


def choose_config(name: ConfigName, training: Training) -> ConfigName:
    """Returns the shipped configuration. Of Stable Diffusion 2, what the denoiser predicts tells the size."""
    return "sd-2-base" if name == "sd-2" and training.prediction_type == "epsilon" else name


def check_zero_snr(folder: Path, training: Training) -> None:
    """Raises UnsupportedCheckpoint for a denoiser that predicts noise and began at noise, which tells it nothing."""
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_bytes())
    prediction = training.prediction_type or scheduler.get("prediction_type", "epsilon")
    if training.zero_snr and "sigma_data" in scheduler:
        raise UnsupportedCheckpoint("zero_snr cannot be used with the noise levels of EDM, which end before pure noise")
    if training.zero_snr and prediction != "v_prediction":
        raise UnsupportedCheckpoint(
            f"ztsnr or zero_snr needs the prediction_type v_prediction, and it has {prediction}"
        )
