"""Files and folders that look like models but take no space: headers are real, weights are zeros."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from imagegen.library.checkpoint_detection import CONFIGS_DIR
from imagegen.library.original_tensors import list_stable_diffusion

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
DTYPE_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "U8": 1}
COMMIT = "c0ffee" + "0" * 34
VAE_CONFIG: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
    "latent_channels": 4,
    "block_out_channels": [8, 8, 16, 16],
}
ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"


def write_tensors(file: Path, shapes: Shapes, metadata: dict[str, str] | None = None) -> Path:
    """Writes a complete safetensors file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.zeros(shape, np.float16) for name, shape in shapes.items()}, file, metadata)
    return file


def write_lora(file: Path, width: int = 128, metadata: dict[str, str] | None = None) -> Path:
    """Writes a LoRA for a UNet with text embeddings of this width; 128 is the embedded model's."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in (ATTENTION, ATTENTION.replace("to_k", "to_v")):
        shapes |= {f"unet.{layer}.lora_A.weight": (4, width), f"unet.{layer}.lora_B.weight": (64, 4)}
    return write_tensors(file, shapes, metadata)


def write_embedding(file: Path, width: int = 128) -> Path:
    return write_tensors(file, {"emb_params": (2, width)})


def write_controlnet(folder: Path, width: int = 128, name: str = "diffusion_pytorch_model.safetensors") -> Path:
    """Writes a ControlNet in diffusers format for a UNet with text embeddings of this width."""
    write_json(folder / "config.json", {"_class_name": "ControlNetModel", "cross_attention_dim": width})
    shapes = {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3), f"{ATTENTION}.weight": (64, width)}
    return write_tensors(folder / name, shapes)


def write_vae(folder: Path, **config: Any) -> Path:
    """Writes a VAE in diffusers format, with changes of its configuration."""
    write_json(folder / "config.json", {**VAE_CONFIG, **config})
    return write_tensors(folder / "diffusion_pytorch_model.safetensors", {"decoder.conv_in.weight": (16, 4, 3, 3)})


def write_detector(folder: Path, **config: Any) -> Path:
    """Writes a detector in the format of transformers, with changes of its configuration."""
    own = {"architectures": ["YolosForObjectDetection"], "id2label": {"0": "face", "1": "hand"}}
    write_json(folder / "config.json", own | config)
    return write_tensors(folder / "model.safetensors", {"vit.embeddings.cls_token": (1, 1, 32)})


def write_ip_adapter(file: Path, width: int = 128, encoder_width: int = 24) -> Path:
    """Writes a plain IP-Adapter for a UNet with text embeddings of this width, and an image encoder for it."""
    config = {"model_type": "clip_vision_model", "projection_dim": encoder_width, "hidden_size": 32}
    write_json(file.parent / "image_encoder" / "config.json", config)
    write_tensors(file.parent / "image_encoder" / "model.safetensors", {"class_embedding": (32,)})
    return write_tensors(file, list_ip_adapter_shapes(width, encoder_width))


def list_ip_adapter_shapes(width: int, encoder_width: int) -> dict[str, tuple[int, ...]]:
    """Returns the tensors of a plain IP-Adapter for a UNet with two cross-attentions."""
    return {
        "image_proj.proj.weight": (4 * width, encoder_width),
        "image_proj.proj.bias": (4 * width,),
        "image_proj.norm.weight": (width,),
        "image_proj.norm.bias": (width,),
        **{f"ip_adapter.{number}.to_{part}_ip.weight": (64, width) for number in (1, 3) for part in "kv"},
    }


def write_names(file: Path, *names: str) -> Path:
    """Writes a file with tensors of these names."""
    return write_tensors(file, dict.fromkeys(names, (1,)))


def write_checkpoint(
    file: Path, config: str = "sd-1", changes: Mapping[str, Shape | None] | None = None, **header: Any
) -> Path:
    """Writes a checkpoint with the tensors of a shipped configuration; `changes` are other shapes, or None."""
    whole = list_stable_diffusion(CONFIGS_DIR / config, in_channels=4, open_clip=config == "sd-2")
    shapes: dict[str, Shape | None] = {**whole, **(changes or {})}
    return write_hollow(file, {name: shape for name, shape in shapes.items() if shape is not None}, **header)


def write_hollow(
    file: Path,
    shapes: Shapes,
    metadata: Mapping[str, str] | None = None,
    dtypes: Mapping[str, str] | None = None,
    values: Mapping[str, bytes] | None = None,
) -> Path:
    """Writes a complete safetensors file that takes no space on disk: its values are a hole, but for `values`.

    Tensors are float16, or of the types in `dtypes`.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        dtype = (dtypes or {}).get(name, "F16")
        begin, end = end, end + prod(shape) * DTYPE_BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    encoded = json.dumps(header).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        stream.write(len(encoded).to_bytes(8, "little") + encoded)
        stream.truncate(8 + len(encoded) + end)
        for name, content in (values or {}).items():
            stream.seek(8 + len(encoded) + header[name]["data_offsets"][0])
            stream.write(content)
    return file


def write_json(file: Path, value: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")
    return file


def write_unet_model(
    folder: Path, width: int = 768, pipeline: str = "StableDiffusionPipeline", sample: int = 64
) -> Path:
    """Writes a complete model in diffusers format, whose UNet has text embeddings of this width."""
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
    return write_model(folder, index, configs)


def write_transformer_model(folder: Path, pipeline: str = "FluxPipeline", **config: object) -> Path:
    index = {
        "_class_name": pipeline,
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "tokenizer": ["transformers", "T5Tokenizer"],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "transformer": ["diffusers", "Transformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    return write_model(folder, index, {"transformer": config})


def write_model(folder: Path, index: Mapping[str, Any], configs: Mapping[str, object]) -> Path:
    write_json(folder / "model_index.json", index)
    write_json(folder / "scheduler" / "scheduler_config.json", {})
    write_json(folder / "tokenizer" / "tokenizer_config.json", {})
    for part in ("text_encoder", "unet", "transformer", "vae"):
        if part in index:
            write_json(folder / part / "config.json", configs.get(part, {}))
            write_tensors(folder / part / "model.safetensors", {"weight": (4, 4)})
    return folder


def make_snapshot_folder(cache: Path, repository: str, commit: str = COMMIT) -> Path:
    """Returns the folder of one version of a repository in a Hub cache."""
    folder = cache / f"models--{repository.replace('/', '--')}" / "snapshots" / commit
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def truncate_file(file: Path, by: int = 1) -> Path:
    """Removes the last bytes of a file, as after a failed download."""
    file.write_bytes(file.read_bytes()[:-by])
    return file
