"""`python -m bench.create_models FOLDER MODEL ...`: creates the models that the benches use, unless they exist.

They have real architectures with random weights, at full size or thin. A thin model has the same graph, operation for
operation, with few channels: on a processor it shows what a full-size model shows on a GPU, where most of the time goes
into launching operations.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from imagegen.engine.models.out_of_memory import release_unused_memory
from imagegen.library.model_index import Model, ModelIndex
from imagegen.library.snapshots import Snapshots
from imagegen.schema.models import ModelSource
from imagegen.settings import ASSETS_DIR

CONFIG = ASSETS_DIR / "configs"
THIN, GROUPS = 8, 4
TRAINED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@dataclass(frozen=True)
class NetworkSpec:
    """An architecture. `side` is that of its pictures in pixels."""

    config: str
    pipeline: str
    side: int
    thin: bool = False


NETWORKS = {
    "sd15": NetworkSpec("sd-1", "StableDiffusionPipeline", 512),
    "sdxl": NetworkSpec("sd-xl", "StableDiffusionXLPipeline", 1024),
    "thin-sd15": NetworkSpec("sd-1", "StableDiffusionPipeline", 64, thin=True),
    "thin-sdxl": NetworkSpec("sd-xl", "StableDiffusionXLPipeline", 64, thin=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.create_models", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="+", choices=NETWORKS)
    arguments = parser.parse_args()
    for name in arguments.models:
        began = time.perf_counter()
        get_source(name, arguments.folder)
        print(f"{name}: {time.perf_counter() - began:.1f} seconds")


def get_source(name: str, scratch: Path) -> ModelSource:
    """Returns the embedded model, or one of NETWORKS, which is created in a folder of its name unless it exists."""
    if name == "embedded":
        source = find_embedded_model().source
        assert source is not None
        return source
    folder = scratch / name
    if not folder.exists():
        create_model(name, folder)
    return ModelSource(id=name, name=name, pipeline=NETWORKS[name].pipeline, path=folder)


def get_side(name: str) -> int:
    """Returns the side of the model's pictures in pixels."""
    return NETWORKS[name].side if name in NETWORKS else find_embedded_model().info.width


def find_embedded_model() -> Model:
    return ModelIndex(ASSETS_DIR, ASSETS_DIR, Snapshots()).get("embedded")


def create_model(name: str, folder: Path) -> Path:
    """Creates a model with random weights; in half precision at full size, as such models are published."""
    spec = NETWORKS[name]
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        torch.set_default_dtype(torch.float32 if spec.thin else torch.float16)
        pipeline = (build_sdxl_pipeline if spec.config == "sd-xl" else build_sd_pipeline)(spec)
        torch.set_default_dtype(torch.float32)
    partial = folder.with_suffix(".part")  # An interrupted run leaves no folder that looks like a model.
    pipeline.save_pretrained(partial)
    partial.rename(folder)
    del pipeline
    release_unused_memory()
    return folder


def build_sd_pipeline(spec: NetworkSpec) -> Any:
    return StableDiffusionPipeline(
        unet=UNet2DConditionModel.from_config(unet_config(spec)),
        vae=AutoencoderKL.from_config(vae_config(spec)),
        text_encoder=CLIPTextModel(text_config(spec, "text_encoder")),
        tokenizer=CLIPTokenizer.from_pretrained(CONFIG / "tokenizer"),
        scheduler=DDIMScheduler(**TRAINED, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def build_sdxl_pipeline(spec: NetworkSpec) -> Any:
    tokenizer = CLIPTokenizer.from_pretrained(CONFIG / "tokenizer")
    return StableDiffusionXLPipeline(
        unet=UNet2DConditionModel.from_config(unet_config(spec)),
        vae=AutoencoderKL.from_config(vae_config(spec)),
        text_encoder=CLIPTextModel(text_config(spec, "text_encoder")),
        text_encoder_2=CLIPTextModelWithProjection(text_config(spec, "text_encoder_2")),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        scheduler=EulerDiscreteScheduler(**TRAINED),
    )


def unet_config(spec: NetworkSpec) -> dict[str, Any]:
    config = read_config(spec, "unet")
    if spec.thin:
        config["block_out_channels"] = [THIN] * len(config["block_out_channels"])
        config["cross_attention_dim"] = THIN * (2 if spec.config == "sd-xl" else 1)
        config["attention_head_dim"], config["norm_num_groups"] = 4, GROUPS
        if spec.config == "sd-xl":  # The width of the second encoder, and six numbers for the size.
            config |= {"addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": THIN + 6 * 8}
    return config


def vae_config(spec: NetworkSpec) -> dict[str, Any]:
    config = read_config(spec, "vae")
    if spec.thin:
        config |= {"block_out_channels": [THIN] * len(config["block_out_channels"]), "layers_per_block": 1}
        config["norm_num_groups"] = GROUPS
    return config


def text_config(spec: NetworkSpec, part: str) -> CLIPTextConfig:
    config = read_config(spec, part)
    if spec.thin:
        config |= {"hidden_size": THIN, "projection_dim": THIN, "intermediate_size": THIN, "num_attention_heads": 4}
        config["num_hidden_layers"] = 2
    return CLIPTextConfig(**config)


def read_config(spec: NetworkSpec, part: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((CONFIG / spec.config / part / "config.json").read_bytes())
    return facts


if __name__ == "__main__":
    main()
