"""Models from disk to memory, without a word to the network or on standard error, and never by code of their own."""

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

from imagegen.engine.checkpoints import from_checkpoint
from imagegen.engine.quantization import KINDS, quantized
from imagegen.engine.quiet import unsaid
from imagegen.errors import ImageGenError, ModelBroken, shortened
from imagegen.info import ModelSource
from imagegen.library.families import FAMILIES
from imagegen.library.weights import UNUSED

# The stand-ins that transformers speaks of are for reading pictures, which no model here does.
with unsaid("transformers.utils.import_utils", "`"):
    from diffusers import AutoPipelineForImage2Image, AutoPipelineForText2Image

logger = logging.getLogger(__name__)

# diffusers types neither making nor calling a pipeline.
Pipeline = Any
# What diffusers says of each network from a single file, although it names none.
KEPT = "There are modules in {} that should be kept in float32: []"
NETWORKS = ("UNet2DConditionModel", "AutoencoderKL", "FluxTransformer2DModel")
FOR_TEXT: Pipeline = AutoPipelineForText2Image
FOR_IMAGE: Pipeline = AutoPipelineForImage2Image


def load_pipeline(source: ModelSource, dtype: torch.dtype) -> Pipeline:
    """The pipeline of a model, in main memory. Raises ModelBroken and PackageMissing."""
    if not source.path.exists():
        raise ModelBroken(source.name, f"there is nothing at {source.path}")
    try:
        with no_progress_bars(), known_oddities():
            pipeline = from_folder(source, dtype) if source.path.is_dir() else from_file(source, dtype)
    except ImageGenError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError) as error:
        logger.warning("A model cannot be loaded", exc_info=error, extra={"action": "model_broken", "model": source.id})
        raise ModelBroken(source.name, shortened(" ".join(str(error).split()), 300)) from None
    if type(pipeline).__name__ != source.pipeline:
        raise ModelBroken(source.name, f"it is a {type(pipeline).__name__}, not a {source.pipeline}")
    if source.trailing:
        scheduler = pipeline.scheduler
        pipeline.scheduler = type(scheduler).from_config(scheduler.config, timestep_spacing="trailing")
    if dtype == torch.float16 and source.pipeline == "SanaPipeline":
        pipeline.vae.to(torch.float32)  # Its numbers do not fit.
    return pipeline


def from_folder(source: ModelSource, dtype: torch.dtype) -> Pipeline:
    index = json.loads((source.path / "model_index.json").read_bytes())
    if index["_class_name"] not in FAMILIES:
        raise ModelBroken(source.name, f"its pipeline is {shortened(str(index['_class_name']))}")
    unused = {name: None for name in UNUSED if index.get(name, [None])[0] is not None}
    return FOR_TEXT.from_pretrained(
        str(source.path),
        dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        variant=variant_of(source.path / FAMILIES[source.pipeline].denoiser),
        **quantized(source, dtype),
        **unused,
    )


def from_file(source: ModelSource, dtype: torch.dtype) -> Pipeline:
    """One checkpoint, with its configuration from our own folder; of FLUX, with the other parts from a whole model."""
    if source.config is None:
        raise ModelBroken(source.name, "it holds the denoiser alone; the other parts come from a whole model on disk")
    if FAMILIES[source.pipeline].denoiser == "unet":
        if source.quantization in KINDS:
            raise ModelBroken(source.name, f"a checkpoint of this kind is not loaded in {source.quantization}, but fp8")
        return from_checkpoint(source, source.config, dtype)
    kind: Pipeline = getattr(diffusers, source.pipeline)
    options = {"config": str(source.config), "local_files_only": True}
    transformer = diffusers.FluxTransformer2DModel.from_single_file(
        str(source.path), torch_dtype=dtype, subfolder="transformer", **options, **quantized(source, dtype)
    )
    return kind.from_pretrained(
        str(source.config), transformer=transformer, dtype=dtype, use_safetensors=True, local_files_only=True
    )


def variant_of(denoiser: Path) -> str | None:
    """The variant that lies there: `diffusion_pytorch_model.fp16.safetensors` is of the variant fp16."""
    names = sorted(file.name for file in denoiser.glob("*.safetensors"))
    parts = [name.split(".")[1] for name in names if name.count(".") > 1]
    return parts[0].split("-")[0] if len(parts) == len(names) > 0 else None


def sharing(pipeline: Pipeline, from_image: bool) -> Pipeline:
    """A pipeline that starts from words or from a picture, with the weights of `pipeline`. Costs milliseconds."""
    shared = (FOR_IMAGE if from_image else FOR_TEXT).from_pipe(pipeline)
    shared.set_progress_bar_config(disable=True)
    return shared


@contextmanager
def known_oddities() -> Iterator[None]:
    """AutoencoderTiny works wherever AutoencoderKL does, and saves a setting that it does not read."""
    with (
        unsaid("diffusers.pipelines.pipeline_utils", "Expected types for vae"),
        unsaid("diffusers.configuration_utils", "The config attributes {'block_out_channels'"),
        unsaid("diffusers.models.modeling_utils", *(KEPT.format(network) for network in NETWORKS)),
        unsaid(
            "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion", "You have disabled the safety checker"
        ),
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
