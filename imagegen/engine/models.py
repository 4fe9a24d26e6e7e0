"""Models from disk to device, without a word to the network or on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from imagegen.engine.quiet import unsaid
from imagegen.errors import WorkerUnavailable

# The stand-ins that transformers speaks of are for reading pictures, which no model here does.
with unsaid("transformers.utils.import_utils", "`"):
    from diffusers import AutoPipelineForImage2Image, AutoPipelineForText2Image

# diffusers types neither making nor calling a pipeline.
Pipeline = Any
FOR_TEXT: Pipeline = AutoPipelineForText2Image
FOR_IMAGE: Pipeline = AutoPipelineForImage2Image
SUPPORTED = ("StableDiffusionPipeline",)


def load_pipeline(folder: Path, device: torch.device, dtype: torch.dtype) -> Pipeline:
    """The pipeline that lies in `folder`, ready to run. Raises WorkerUnavailable when there is none that fits."""
    if not (folder / "model_index.json").is_file():
        raise WorkerUnavailable(f"there is no model in its folder {folder.name}.")
    with no_progress_bars(), known_oddities():
        pipeline = FOR_TEXT.from_pretrained(str(folder), dtype=dtype, use_safetensors=True, local_files_only=True)
    if type(pipeline).__name__ not in SUPPORTED:
        raise WorkerUnavailable(f"its model is a {type(pipeline).__name__}; it can be a {', '.join(SUPPORTED)}.")
    return pipeline.to(device)


def sharing(pipeline: Pipeline, scheduler: Any, from_image: bool) -> Pipeline:
    """A pipeline for one request: with the weights of `pipeline`, and a scheduler of its own. Costs milliseconds."""
    shared = (FOR_IMAGE if from_image else FOR_TEXT).from_pipe(pipeline, scheduler=scheduler)
    shared.set_progress_bar_config(disable=True)
    return shared


@contextmanager
def known_oddities() -> Iterator[None]:
    """AutoencoderTiny works wherever AutoencoderKL does, and saves a setting that it does not read."""
    with (
        unsaid("diffusers.pipelines.pipeline_utils", "Expected types for vae"),
        unsaid("diffusers.configuration_utils", "The config attributes {'block_out_channels'"),
    ):
        yield


@contextmanager
def no_progress_bars() -> Iterator[None]:
    shown = [library for library in (diffusers_logging, transformers_logging) if library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()
