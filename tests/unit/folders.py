"""Files and folders that look like models, and weigh nothing: their heads are right, their numbers are zeros."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

Shapes = Mapping[str, tuple[int, ...]]
COMMIT = "c0ffee" + "0" * 34
ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"


def tensors(file: Path, shapes: Shapes, metadata: dict[str, str] | None = None) -> Path:
    """A whole file of weights."""
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.zeros(shape, np.float16) for name, shape in shapes.items()}, file, metadata)
    return file


def lora(file: Path, width: int = 128, metadata: dict[str, str] | None = None) -> Path:
    """A LoRA for a UNet that attends to text of this width; 128 is the embedded model's."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in (ATTENTION, ATTENTION.replace("to_k", "to_v")):
        shapes |= {f"unet.{layer}.lora_A.weight": (4, width), f"unet.{layer}.lora_B.weight": (64, 4)}
    return tensors(file, shapes, metadata)


def embedding(file: Path, width: int = 128) -> Path:
    return tensors(file, {"emb_params": (2, width)})


def checkpoint(file: Path, *names: str) -> Path:
    """One file with tensors of these names."""
    return tensors(file, dict.fromkeys(names, (1,)))


def written(file: Path, value: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")
    return file


def unet_model(folder: Path, width: int = 768, pipeline: str = "StableDiffusionPipeline", sample: int = 64) -> Path:
    """A whole model in diffusers format, whose UNet attends to text of this width."""
    index: dict[str, Any] = {
        "_class_name": pipeline,
        "scheduler": ["diffusers", "DDIMScheduler"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "feature_extractor": [None, None],
    }
    configs = {
        "unet": {"cross_attention_dim": width, "sample_size": sample},
        "vae": {"block_out_channels": [8, 8, 8, 8]},
    }
    return model(folder, index, configs)


def transformer_model(folder: Path, pipeline: str = "FluxPipeline", **config: object) -> Path:
    index = {
        "_class_name": pipeline,
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "tokenizer": ["transformers", "T5Tokenizer"],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "transformer": ["diffusers", "Transformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    return model(folder, index, {"transformer": config})


def model(folder: Path, index: Mapping[str, Any], configs: Mapping[str, object]) -> Path:
    written(folder / "model_index.json", index)
    written(folder / "scheduler" / "scheduler_config.json", {})
    written(folder / "tokenizer" / "tokenizer_config.json", {})
    for part in ("text_encoder", "unet", "transformer", "vae"):
        if part in index:
            written(folder / part / "config.json", configs.get(part, {}))
            tensors(folder / part / "model.safetensors", {"weight": (4, 4)})
    return folder


def snapshot(cache: Path, repository: str, commit: str = COMMIT) -> Path:
    """Where one version of a repository lies in a cache of the Hub."""
    folder = cache / f"models--{repository.replace('/', '--')}" / "snapshots" / commit
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cut(file: Path, by: int = 1) -> Path:
    """The file without its last bytes, as after a download that failed."""
    file.write_bytes(file.read_bytes()[:-by])
    return file
