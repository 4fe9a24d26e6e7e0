"""Models from one file. What the file does not hold comes from a folder in diffusers format.

A file of Stable Diffusion holds all weights, so that the folder gives the configuration and the tokenizers. A file of a
transformer holds the denoiser alone, and the folder is a whole model. Each tensor of a file is used, or the file is
refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from accelerate import init_empty_weights  # type: ignore[import-untyped]
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from imagegen.engine.models.checkpoint_weights import read_tensors, read_weights
from imagegen.engine.models.flux_tensors import convert_flux
from imagegen.engine.models.network_files import check_tensors
from imagegen.engine.models.quantization import QUANTIZATION_BACKENDS, build_quantization_options
from imagegen.engine.protocols import Pipeline
from imagegen.engine.samplers import is_edm
from imagegen.errors import ModelLoadFailed
from imagegen.library.checkpoint_detection import UnsupportedCheckpoint, detect_checkpoint
from imagegen.library.checkpoint_tensors import check_checkpoint
from imagegen.library.original_tensors import CLIP_PREFIX, OPEN_CLIP_PREFIX, XL_CLIP_PREFIX, XL_OPEN_CLIP_PREFIX
from imagegen.library.prompt_tokens import CLIP_TOKENIZER_FOLDER
from imagegen.library.weight_files import UNUSED_COMPONENTS, read_components, read_header
from imagegen.schema.models import ModelSource, PredictionType

# The text encoders of a pipeline by component: their prefixes in transformers' layout and in that of OpenCLIP.
TEXT_ENCODERS: Mapping[str, tuple[Any, tuple[str, ...], str]] = {
    "text_encoder": (CLIPTextModel, (CLIP_PREFIX, XL_CLIP_PREFIX), OPEN_CLIP_PREFIX),
    "text_encoder_2": (CLIPTextModelWithProjection, (), XL_OPEN_CLIP_PREFIX),
}
# Tables that a file of Stable Diffusion 1 or 2 may have beside its weights: the share of the picture that is left at
# each noise level, and the number by which latents are multiplied. They may be in float16.
NOISE_TABLE, LATENT_SCALE = "alphas_cumprod", "scale_factor"
RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 0.02, 1e-3


def load_stable_diffusion(source: ModelSource, config: Path, dtype: torch.dtype) -> Pipeline:
    """Returns the pipeline of a Stable Diffusion checkpoint. Raises ModelLoadFailed for a file that lacks a part."""
    if source.quantization in QUANTIZATION_BACKENDS:
        raise ModelLoadFailed(source.name, f"a checkpoint of this kind is not loaded in {source.quantization}, but fp8")
    channels = check_file(source, config)
    weights = read_weights(source.path, dtype)
    networks = {
        "unet": build_unet(weights, config, channels),
        "vae": build_autoencoder(weights, config),
        **{
            part: build_text_encoder(weights, config, part) for part in TEXT_ENCODERS if part in read_components(config)
        },
    }
    pipeline_class: Any = getattr(diffusers, source.pipeline)
    pipeline: Pipeline = pipeline_class.from_pretrained(
        str(config), local_files_only=True, **networks, **load_tokenizers(config), **list_unused_components(config)
    )
    try:
        check_tables(source, pipeline)
    except UnsupportedCheckpoint as error:
        raise ModelLoadFailed(source.name, str(error)) from None
    return pipeline


def check_file(source: ModelSource, config: Path) -> int:
    """Returns the input channels of a file's denoiser. Raises ModelLoadFailed unless each tensor has its place."""
    header = read_header(source.path)
    try:
        checkpoint = detect_checkpoint(header)
        check_checkpoint(header, checkpoint, config)
    except UnsupportedCheckpoint as error:
        raise ModelLoadFailed(source.name, str(error)) from None
    return checkpoint.in_channels


def build_unet(weights: Mapping[str, Tensor], folder: Path, channels: int) -> nn.Module:
    config = read_json(folder / "unet" / "config.json") | {"in_channels": channels}
    with init_empty_weights():
        network: nn.Module = UNet2DConditionModel.from_config(config)
    return assign_weights(network, convert_ldm_unet_checkpoint(dict(weights), config))


def build_autoencoder(weights: Mapping[str, Tensor], folder: Path) -> nn.Module:
    with init_empty_weights():
        network: Any = AutoencoderKL.from_config(read_json(folder / "vae" / "config.json"))
    return assign_weights(network, convert_ldm_vae_checkpoint(dict(weights), network.config))


def build_text_encoder(weights: Mapping[str, Tensor], folder: Path, part: str) -> nn.Module:
    """Returns a text encoder, from weights in the layout of transformers or of OpenCLIP."""
    encoder_class, prefixes, open_clip_prefix = TEXT_ENCODERS[part]
    with init_empty_weights():
        network: Any = encoder_class(encoder_class.config_class.from_pretrained(folder / part, local_files_only=True))
    if any(name.startswith(open_clip_prefix) for name in weights):
        converted = convert_open_clip_checkpoint(network, weights, prefix=open_clip_prefix)
    else:
        converted = {
            name.removeprefix(prefix): weight
            for prefix in prefixes
            for name, weight in weights.items()
            if name.startswith(prefix)
        }
    wraps_model = hasattr(network, "text_model")  # transformers 5.6 made one class flat.
    named = converted if wraps_model else {name.removeprefix("text_model."): each for name, each in converted.items()}
    return assign_weights(network, named)


def assign_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """Gives a network without memory its weights. Raises ValueError unless each of them has its place.

    Layers that are convolutions of one pixel in some files are linear in others.
    """
    expected = network.state_dict()
    fitted = {
        name: each.reshape(expected[name].shape)
        if name in expected and each.numel() == expected[name].numel()
        else each
        for name, each in weights.items()
    }
    check_tensors(fitted, network)
    network.load_state_dict({name: each.contiguous() for name, each in fitted.items()}, assign=True)
    return network.eval()


def check_tables(source: ModelSource, pipeline: Pipeline) -> None:
    """Raises UnsupportedCheckpoint for a file whose tables are not those of its configuration."""
    tables = read_tensors(source.path, NOISE_TABLE, LATENT_SCALE)
    if NOISE_TABLE in tables and not is_edm(pipeline.scheduler.config):
        zero_snr = bool(source.zero_snr)
        known = [compute_noise_table(pipeline.scheduler.config, flag) for flag in {False, zero_snr}]
        found = tables[NOISE_TABLE].float()
        if not any(is_close(found, each) for each in known):
            raise UnsupportedCheckpoint(f"its tensor {NOISE_TABLE} is not that of its configuration")
    scaling = float(pipeline.vae.config["scaling_factor"])
    if LATENT_SCALE in tables and abs(tables[LATENT_SCALE].item() - scaling) > RELATIVE_TOLERANCE * scaling:
        raise UnsupportedCheckpoint(f"its tensor {LATENT_SCALE} is not {scaling}, as its configuration says")


def is_close(found: Tensor, known: Tensor) -> bool:
    """Returns whether two tables are equal but for their precision."""
    return found.shape == known.shape and torch.allclose(found, known, RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE)


def compute_noise_table(config: Any, zero_snr: bool) -> Tensor:
    scheduler: Any = DDIMScheduler.from_config(config, rescale_betas_zero_snr=zero_snr)
    table: Tensor = scheduler.alphas_cumprod
    return table


def load_with_single_file_denoiser(source: ModelSource, config: Path, dtype: torch.dtype, network: str) -> Pipeline:
    """Returns the pipeline of the model in the folder `config`, with the denoiser of FLUX.1 from a file.

    `network` is the class name of the denoiser. Raises ModelLoadFailed and PackageMissing.
    """
    network_class: Any = getattr(diffusers, network)
    pipeline_class: Any = getattr(diffusers, source.pipeline)
    options = build_quantization_options(source, dtype)
    weights: object = str(source.path)
    if source.path.suffix == ".safetensors":
        channels = check_file(source, config)
        options |= list_channels(channels, config)
        weights = convert_flux(read_weights(source.path, dtype))
    transformer = network_class.from_single_file(
        weights, torch_dtype=dtype, subfolder="transformer", config=str(config), local_files_only=True, **options
    )
    pipeline: Pipeline = pipeline_class.from_pretrained(
        str(config), transformer=transformer, dtype=dtype, use_safetensors=True, local_files_only=True
    )
    return pipeline


def list_channels(channels: int, config: Path) -> dict[str, int]:
    """Returns the settings for a denoiser with so many input channels, if it has others than `config` says.

    A denoiser that was trained to inpaint has, and no configuration of its own. Its output is that of the others.
    """
    known = read_json(config / "transformer" / "config.json")
    outputs = known.get("out_channels") or known["in_channels"]
    return {} if channels == known["in_channels"] else {"in_channels": channels, "out_channels": outputs}


def read_json(file: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(file.read_bytes())
    return values


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


def apply_training(scheduler: Any, prediction_type: PredictionType | None, zero_snr: bool | None) -> Any:
    """Returns the scheduler, configured for what a denoiser predicts.

    With `zero_snr` it was trained from pure noise on (zero terminal signal-to-noise ratio), so that sampling has to
    start there. None leaves the configuration as it is.
    """
    settings: dict[str, Any] = {}
    if prediction_type is not None and prediction_type != scheduler.config.get("prediction_type", "epsilon"):
        settings["prediction_type"] = prediction_type
    if settings and is_edm(scheduler.config):
        return type(scheduler).from_config(scheduler.config, **settings)
    if zero_snr:
        settings |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    elif zero_snr is False and scheduler.config.get("rescale_betas_zero_snr"):
        settings["rescale_betas_zero_snr"] = False
    # Not every scheduler has all these settings. Each job creates its own scheduler from this configuration.
    return DDIMScheduler.from_config(scheduler.config, clip_sample=False, **settings) if settings else scheduler
