"""`python -m bench.networks FOLDER MODEL ...`: makes models to measure on, where they are not there yet.

They have true architectures, by their configurations, with random weights, whole or thin. A thin one has the graph of
the whole one, operation for operation, with few channels: on a processor it shows what a GPU shows of the whole one,
that the time goes into starting operations rather than into computing.
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

from imagegen.engine.memory import give_back
from imagegen.info import ModelSource
from imagegen.library.models import Model, Models
from imagegen.library.snapshots import Snapshots
from imagegen.settings import ASSETS

CONFIG = ASSETS / "configs"
THIN, GROUPS = 8, 4
TRAINED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@dataclass(frozen=True)
class Kind:
    """`side` is that of its pictures, in pixels."""

    config: str
    pipeline: str
    side: int
    thin: bool = False


KINDS = {
    "sd15": Kind("sd-1", "StableDiffusionPipeline", 512),
    "sdxl": Kind("sd-xl", "StableDiffusionXLPipeline", 1024),
    "thin-sd15": Kind("sd-1", "StableDiffusionPipeline", 64, thin=True),
    "thin-sdxl": Kind("sd-xl", "StableDiffusionXLPipeline", 64, thin=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.networks", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="+", choices=KINDS)
    arguments = parser.parse_args()
    for name in arguments.models:
        began = time.perf_counter()
        source_of(name, arguments.folder)
        print(f"{name}: {time.perf_counter() - began:.1f} seconds")


def source_of(name: str, scratch: Path) -> ModelSource:
    """The embedded model; or one of KINDS, made in a folder of that name when it is not there."""
    if name == "embedded":
        source = embedded().source
        assert source is not None
        return source
    folder = scratch / name
    if not folder.exists():
        made(name, folder)
    return ModelSource(id=name, name=name, pipeline=KINDS[name].pipeline, path=folder)


def side_of(name: str) -> int:
    return KINDS[name].side if name in KINDS else embedded().info.width


def embedded() -> Model:
    return Models(ASSETS, ASSETS, Snapshots()).get("embedded")


def made(name: str, folder: Path) -> Path:
    """In half precision when whole, as such models are shared."""
    kind = KINDS[name]
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        torch.set_default_dtype(torch.float32 if kind.thin else torch.float16)
        pipeline = (xl if kind.config == "sd-xl" else first)(kind)
        torch.set_default_dtype(torch.float32)
    half = folder.with_suffix(".part")  # So that one that was broken off is not taken for a model.
    pipeline.save_pretrained(half)
    half.rename(folder)
    del pipeline
    give_back()
    return folder


def first(kind: Kind) -> Any:
    return StableDiffusionPipeline(
        unet=UNet2DConditionModel.from_config(unet_config(kind)),
        vae=AutoencoderKL.from_config(vae_config(kind)),
        text_encoder=CLIPTextModel(text_config(kind, "text_encoder")),
        tokenizer=CLIPTokenizer.from_pretrained(CONFIG / "tokenizer"),
        scheduler=DDIMScheduler(**TRAINED, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def xl(kind: Kind) -> Any:
    tokenizer = CLIPTokenizer.from_pretrained(CONFIG / "tokenizer")
    return StableDiffusionXLPipeline(
        unet=UNet2DConditionModel.from_config(unet_config(kind)),
        vae=AutoencoderKL.from_config(vae_config(kind)),
        text_encoder=CLIPTextModel(text_config(kind, "text_encoder")),
        text_encoder_2=CLIPTextModelWithProjection(text_config(kind, "text_encoder_2")),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        scheduler=EulerDiscreteScheduler(**TRAINED),
    )


def unet_config(kind: Kind) -> dict[str, Any]:
    config = read(kind, "unet")
    if kind.thin:
        config["block_out_channels"] = [THIN] * len(config["block_out_channels"])
        config["cross_attention_dim"] = THIN * (2 if kind.config == "sd-xl" else 1)
        config["attention_head_dim"], config["norm_num_groups"] = 4, GROUPS
        if kind.config == "sd-xl":  # The second encoder's width, and six numbers about the size.
            config |= {"addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": THIN + 6 * 8}
    return config


def vae_config(kind: Kind) -> dict[str, Any]:
    config = read(kind, "vae")
    if kind.thin:
        config |= {"block_out_channels": [THIN] * len(config["block_out_channels"]), "layers_per_block": 1}
        config["norm_num_groups"] = GROUPS
    return config


def text_config(kind: Kind, part: str) -> CLIPTextConfig:
    config = read(kind, part)
    if kind.thin:
        config |= {"hidden_size": THIN, "projection_dim": THIN, "intermediate_size": THIN, "num_attention_heads": 4}
        config["num_hidden_layers"] = 2
    return CLIPTextConfig(**config)


def read(kind: Kind, part: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((CONFIG / kind.config / part / "config.json").read_bytes())
    return facts


if __name__ == "__main__":
    main()
