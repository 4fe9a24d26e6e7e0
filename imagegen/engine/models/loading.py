"""Loads models from disk, without network access, without messages on standard error, and without code of the model."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from imagegen.engine.families.base import ModelFamily
from imagegen.engine.families.registry import get_model_family
from imagegen.engine.log_filters import suppress_messages
from imagegen.engine.models.folder_tensors import check_networks
from imagegen.engine.models.out_of_memory import is_out_of_memory
from imagegen.engine.models.quantization import build_quantization_options
from imagegen.engine.models.safe_configs import open_safe_folder
from imagegen.engine.models.single_file import apply_training
from imagegen.engine.protocols import Pipeline
from imagegen.errors import ImageGenError, ModelLoadFailed
from imagegen.library.memory_estimate import detect_variant
from imagegen.library.model_info import read_pipeline_class
from imagegen.library.weight_files import UNUSED_COMPONENTS
from imagegen.schema.models import ModelSource
from imagegen.text import truncate

logger = logging.getLogger(__name__)

# diffusers warns of each network from a single file, although the list is empty.
FLOAT32_MODULES_WARNING = "There are modules in {} that should be kept in float32: []"


def load_pipeline(source: ModelSource, dtype: torch.dtype) -> Pipeline:
    """Returns the pipeline of a model, in main memory. Raises ModelLoadFailed and PackageMissing."""
    family = get_model_family(source.pipeline)
    if not source.path.exists():
        raise ModelLoadFailed(source.name, "its files are not on disk any more")
    try:
        with disable_progress_bars(), suppress_known_warnings(family):
            if source.path.is_dir():
                with open_safe_folder(source.path) as folder:
                    pipeline = load_pipeline_from_folder(folder, source, family, dtype)
            else:
                pipeline = load_pipeline_from_file(source, family, dtype)
    except ImageGenError:
        raise
    except (
        OSError,
        ValueError,
        RuntimeError,
        KeyError,
        TypeError,
        AttributeError,
        ImportError,
        RecursionError,
    ) as error:
        logger.warning("A model cannot be loaded", exc_info=error, extra={"action": "model_broken", "model": source.id})
        raise ModelLoadFailed(source.name, describe_error(error)) from None
    if type(pipeline).__name__ != source.pipeline:
        raise ModelLoadFailed(source.name, f"it is a {type(pipeline).__name__}, not a {source.pipeline}")
    pipeline.scheduler = apply_training(pipeline.scheduler, source.prediction_type, source.zero_snr)
    if source.trailing:
        scheduler_class: Any = type(pipeline.scheduler)
        pipeline.scheduler = scheduler_class.from_config(pipeline.scheduler.config, timestep_spacing="trailing")
    family.prepare(pipeline, dtype)
    return pipeline


def describe_error(error: Exception) -> str:
    """Returns why a model cannot be loaded, for its user. What a library says of its own functions is in the log."""
    if isinstance(error, RuntimeError) and is_out_of_memory(error):
        return "there is not enough memory for it"
    if isinstance(error, ImportError):
        return "it needs a Python package that is not installed here; the log says which"
    if isinstance(error, OSError):
        return "one of its files cannot be read; the log says why"
    return "its files do not fit its configuration; the log says why"


def load_pipeline_from_folder(folder: Path, source: ModelSource, family: ModelFamily, dtype: torch.dtype) -> Pipeline:
    """Loads from `folder`, which has the files of the source."""
    index = json.loads((folder / "model_index.json").read_bytes())
    if read_pipeline_class(folder, source.name) != source.pipeline:
        raise ModelLoadFailed(source.name, f"its pipeline is {truncate(str(index['_class_name']))}")
    unused = {name: None for name in UNUSED_COMPONENTS if index.get(name, [None])[0] is not None}
    late = family.load_late_components(folder)
    variant = detect_variant(folder / family.facts.denoiser)
    pipeline_class: Any = getattr(diffusers, source.pipeline)
    pipeline: Pipeline = pipeline_class.from_pretrained(
        str(folder),
        dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        variant=variant,
        **build_quantization_options(source, dtype),
        **family.load_components(folder),
        **dict.fromkeys(late),
        **unused,
    )
    if late:
        pipeline.register_modules(**late)
    check_networks(pipeline, folder, source.name, variant)
    return pipeline


def load_pipeline_from_file(source: ModelSource, family: ModelFamily, dtype: torch.dtype) -> Pipeline:
    if source.config is None:
        raise ModelLoadFailed(
            source.name, "it holds the denoiser alone; the other parts come from a whole model on disk"
        )
    with open_safe_folder(source.config) as config:
        return family.load_from_file(source, config, dtype)


@contextmanager
def suppress_known_warnings(family: ModelFamily) -> Iterator[None]:
    """Drops warnings that are not about a problem while a model is loaded.

    AutoencoderTiny works wherever AutoencoderKL does, and saves a setting that it does not read.
    """
    with (
        suppress_messages("diffusers.pipelines.pipeline_utils", "Expected types for "),
        suppress_messages("diffusers.configuration_utils", "The config attributes {'block_out_channels'"),
        suppress_messages(
            "diffusers.models.modeling_utils", *map(FLOAT32_MODULES_WARNING.format, family.single_file_networks)
        ),
        suppress_messages(
            "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion", "You have disabled the safety checker"
        ),
    ):
        yield


@contextmanager
def disable_progress_bars() -> Iterator[None]:
    """Switches off the progress bars of diffusers and transformers, and restores them."""
    enabled = [library for library in (diffusers_logging, transformers_logging) if library.is_progress_bar_enabled()]
    for library in enabled:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in enabled:
            library.enable_progress_bar()
