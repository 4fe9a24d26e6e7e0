"""Stable Diffusion from one file. What the file does not hold, configuration and tokenizers, comes from a folder."""

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

from imagegen.errors import ModelBroken
from imagegen.info import ModelSource
from imagegen.library.checkpoints import CONFIGS
from imagegen.library.weights import UNUSED, components, head

TOKENIZER = CONFIGS / "tokenizer"
LACKING = "the file does not hold all weights of the model"


def from_checkpoint(source: ModelSource, config: Path, dtype: torch.dtype) -> Any:
    """The pipeline, with the configuration in the folder `config`. Raises ModelBroken for a file that lacks a part."""
    kind: Any = getattr(diffusers, source.pipeline)
    options = {"config": str(config), "torch_dtype": dtype, "local_files_only": True}
    try:
        pipeline = kind.from_single_file(str(source.path), **options, **tokenizers(config), **unused(config))
    except (SingleFileComponentError, NotImplementedError):  # A whole part; some of its weights, which stay "meta".
        raise ModelBroken(source.name, LACKING) from None
    networks = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    if any(weight.is_meta for network in networks for weight in network.parameters()):
        raise ModelBroken(source.name, LACKING)
    pipeline.scheduler = as_marked(pipeline.scheduler, head(source.path).shapes)
    return pipeline


def tokenizers(config: Path) -> dict[str, CLIPTokenizer]:
    """By component: the folder's own where there is one, else CLIP's, which all these models use."""
    parts = [part for part, (_, kind) in components(config).items() if "Tokenizer" in kind]
    return {part: tokenizer(config, part) for part in parts}


def tokenizer(config: Path, part: str) -> CLIPTokenizer:
    if (config / part).is_dir():
        return CLIPTokenizer.from_pretrained(config / part, local_files_only=True)
    clip = CLIPTokenizer.from_pretrained(TOKENIZER, local_files_only=True)
    encoder = json.loads((config / part.replace("tokenizer", "text_encoder") / "config.json").read_bytes())
    if encoder.get("hidden_act") == "gelu":
        # It was trained by OpenCLIP, which pads with zeros. As `pad_token` that would take each "!" for padding.
        clip.pad_token_id = 0
    return clip


def unused(config: Path) -> dict[str, None]:
    index = json.loads((config / "model_index.json").read_bytes())
    return {part: None for part in UNUSED if index.get(part, [None])[0] is not None}


def as_marked(scheduler: Any, names: Container[str]) -> Any:
    """The scheduler, with what a file says of its training by tensors that are there for their names.

    With `v_pred` the model predicts velocity, with `ztsnr` it does so from pure noise on, and has to start there.
    """
    settings: dict[str, Any] = {"prediction_type": "v_prediction"} if "v_pred" in names else {}
    if "ztsnr" in names and "v_prediction" in (*settings.values(), scheduler.config.prediction_type):
        settings |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    # Not every scheduler knows of all these settings; each request brings its own, made from this configuration.
    return DDIMScheduler.from_config(scheduler.config, **settings) if settings else scheduler
