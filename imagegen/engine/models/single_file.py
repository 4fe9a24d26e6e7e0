"""Models from one file. What the file does not hold comes from a folder in diffusers format.

A file of Stable Diffusion holds all weights, so that the folder gives the configuration and the tokenizers. A file of a
transformer holds the denoiser alone, and the folder is a whole model.
"""

from __future__ import annotations

import json
from collections.abc import Container
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DDIMScheduler
from diffusers.loaders.single_file_utils import SingleFileComponentError
from transformers import CLIPTokenizer

from imagegen.engine.models.quantization import QUANTIZATION_BACKENDS, build_quantization_options
from imagegen.engine.protocols import Pipeline
from imagegen.errors import ModelLoadFailed
from imagegen.library.checkpoint_detection import read_input_channels
from imagegen.library.prompt_tokens import CLIP_TOKENIZER_FOLDER
from imagegen.library.weight_files import UNUSED_COMPONENTS, read_components, read_header
from imagegen.schema.models import ModelSource

MISSING_WEIGHTS = "the file does not hold all weights of the model"


def load_stable_diffusion(source: ModelSource, config: Path, dtype: torch.dtype) -> Pipeline:
    """Returns the pipeline of a Stable Diffusion checkpoint. Raises ModelLoadFailed for a file that lacks a part."""
    if source.quantization in QUANTIZATION_BACKENDS:
        raise ModelLoadFailed(source.name, f"a checkpoint of this kind is not loaded in {source.quantization}, but fp8")
    pipeline_class: Any = getattr(diffusers, source.pipeline)
    options = {"config": str(config), "torch_dtype": dtype, "local_files_only": True}
    shapes = read_header(source.path).shapes
    try:
        if (channels := list_input_channels(source.path, "unet", config)) != {}:
            options["unet"] = diffusers.UNet2DConditionModel.from_single_file(
                str(source.path), subfolder="unet", **options, **channels
            )
        pipeline: Pipeline = pipeline_class.from_single_file(
            str(source.path), **options, **load_tokenizers(config), **list_unused_components(config)
        )
    except (SingleFileComponentError, NotImplementedError):  # A part is missing, or some of its weights, left "meta".
        raise ModelLoadFailed(source.name, MISSING_WEIGHTS) from None
    networks = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    if any(weight.is_meta for network in networks for weight in network.parameters()):
        raise ModelLoadFailed(source.name, MISSING_WEIGHTS)
    pipeline.scheduler = apply_training_flags(pipeline.scheduler, shapes)
    return pipeline


def load_with_single_file_denoiser(source: ModelSource, config: Path, dtype: torch.dtype, network: str) -> Pipeline:
    """Returns the pipeline of the model in the folder `config`, with the denoiser from a file.

    `network` is the class name of the denoiser. Raises PackageMissing.
    """
    network_class: Any = getattr(diffusers, network)
    pipeline_class: Any = getattr(diffusers, source.pipeline)
    transformer = network_class.from_single_file(
        str(source.path),
        torch_dtype=dtype,
        subfolder="transformer",
        config=str(config),
        local_files_only=True,
        **list_input_channels(source.path, "transformer", config),
        **build_quantization_options(source, dtype),
    )
    pipeline: Pipeline = pipeline_class.from_pretrained(
        str(config), transformer=transformer, dtype=dtype, use_safetensors=True, local_files_only=True
    )
    return pipeline


def list_input_channels(file: Path, part: str, config: Path) -> dict[str, int]:
    """Returns the setting for the input channels of a file's denoiser, if it has others than `config` says.

    A denoiser that was trained to inpaint has, and no configuration of its own.
    """
    channels = read_input_channels(read_header(file)) if file.suffix == ".safetensors" else None
    configured = json.loads((config / part / "config.json").read_bytes()).get("in_channels")
    return {} if channels in (None, configured) else {"in_channels": channels}


def load_tokenizers(config: Path) -> dict[str, CLIPTokenizer]:
    """Returns tokenizers by component: the folder's own where there is one, else CLIP's, which all these models use."""
    parts = [part for part, (_, kind) in read_components(config).items() if "Tokenizer" in kind]
    return {part: load_tokenizer(config, part) for part in parts}


def load_tokenizer(config: Path, part: str) -> CLIPTokenizer:
    if (config / part).is_dir():
        return CLIPTokenizer.from_pretrained(config / part, local_files_only=True)
    clip = CLIPTokenizer.from_pretrained(CLIP_TOKENIZER_FOLDER, local_files_only=True)
    encoder = json.loads((config / part.replace("tokenizer", "text_encoder") / "config.json").read_bytes())
    if encoder.get("hidden_act") == "gelu":
        # It was trained by OpenCLIP, which pads with zeros. With `pad_token`, each "!" would count as padding.
        clip.pad_token_id = 0
    return clip


def list_unused_components(config: Path) -> dict[str, None]:
    index = json.loads((config / "model_index.json").read_bytes())
    return {part: None for part in UNUSED_COMPONENTS if index.get(part, [None])[0] is not None}


def apply_training_flags(scheduler: Any, tensor_names: Container[str]) -> Any:
    """Returns the scheduler, configured by the marker tensors of a checkpoint.

    A tensor named `v_pred` says that the model predicts velocity; `ztsnr` says that it was trained from pure noise on
    (zero terminal signal-to-noise ratio), so that sampling has to start there.
    """
    settings: dict[str, Any] = {"prediction_type": "v_prediction"} if "v_pred" in tensor_names else {}
    if "ztsnr" in tensor_names and "v_prediction" in (*settings.values(), scheduler.config.prediction_type):
        settings |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    # Not every scheduler has all these settings. Each job creates its own scheduler from this configuration.
    return DDIMScheduler.from_config(scheduler.config, **settings) if settings else scheduler
