"""`python -m bench.models [folder]`: going back to a model in memory, beside loading it again.

Two models take turns. Given none, both are of the size of Stable Diffusion 1.5, with random weights in half precision,
made in a temporary folder: 2.1 GB, and twice as much in memory on a CPU. On a GPU, where `--room` models fit at once,
the rest waits in main memory. Seconds of the median round; each round does all, one after the other.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import torch
from diffusers import (
    AutoencoderKL,
    AutoPipelineForText2Image,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from bench.timing import RESULTS, interleaved
from imagegen.engine.devices import chosen_device, dtype_for
from imagegen.engine.memory import memory_budget
from imagegen.engine.store import Budget, ModelStore
from imagegen.info import ModelSource
from imagegen.settings import ASSETS

CONFIG = ASSETS / "configs"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.models", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="a model in diffusers format, of Stable Diffusion 1")
    parser.add_argument("--room", type=float, default=1.5, help="how many of them fit on the GPU")
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        folder = arguments.folder or made(Path(scratch))
        report = measured(folder, arguments.room)
    (RESULTS / "models.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


def measured(folder: Path, room: float) -> dict[str, object]:
    device = chosen_device("auto")
    dtype = dtype_for(device)
    sources = [ModelSource(id=name, name=name, pipeline="StableDiffusionPipeline", path=folder) for name in "ab"]
    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    on_device = room * size if device.type == "cuda" else 1e12
    store = ModelStore(device, dtype, Budget(on_device, max(1e12, memory_budget(None)), "off"))

    def switch() -> None:
        """Each call goes back to the model that was used before the last."""
        sources.reverse()
        with store.using(sources[0]):
            pass

    def load() -> None:
        AutoPipelineForText2Image.from_pretrained(folder, dtype=dtype, use_safetensors=True).to(device)

    for _ in range(2):
        switch()
    seconds = interleaved({"switch": switch, "from_pretrained": load}, rounds=5)
    return {
        "command": "python -m bench.models",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {device.type}, {dtype}",
        "gigabytes": round(size / 1e9, 2),
        "seconds": {name: round(value, 5) for name, value in seconds.items()},
        "ratio": float(f"{seconds['switch'] / seconds['from_pretrained']:.1e}"),
        "memory_mb": round(psutil.Process().memory_info().rss / 2**20),
    }


def made(folder: Path) -> Path:
    """Stable Diffusion 1.5 by its configuration, with random weights."""
    torch.set_default_dtype(torch.float16)
    config = CONFIG / "sd-1"

    def read(part: str) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((config / part / "config.json").read_bytes())
        return facts

    pipeline: Any = StableDiffusionPipeline(
        unet=UNet2DConditionModel.from_config(read("unet")),
        vae=AutoencoderKL.from_config(read("vae")),
        text_encoder=CLIPTextModel(CLIPTextConfig(**read("text_encoder"))),
        tokenizer=CLIPTokenizer.from_pretrained(CONFIG / "tokenizer"),
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    torch.set_default_dtype(torch.float32)
    pipeline.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
