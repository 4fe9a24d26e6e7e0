"""`python -m bench.loras`: putting a LoRA on, beside diffusers' own way, on the structure of Stable Diffusion XL.

The network has all 722 layers that a LoRA for it adapts, with few channels: what is measured is the work per layer.
Seconds of the median round; each round does both, one after the other. The pictures are compared first.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from torch import nn

from bench.timing import RESULTS, interleaved
from imagegen.engine.loras import Lora, read_lora
from imagegen.engine.wearing import Tailor, Wardrobe, Worn
from imagegen.info import AdapterSource

LAYERS = 722
RANK = 8


def main() -> None:
    torch.set_num_threads(1)  # With so few channels threads only wait for each other.
    pipeline = structure()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "lora.safetensors"
        save_file(factors(pipeline.unet), file)
        source = AdapterSource(kind="lora", id="it", name="it", path=file, sha256="", architecture="")
        report = measured(pipeline, source)
    (RESULTS / "loras.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


def measured(pipeline: Any, source: AdapterSource) -> dict[str, object]:
    tailor, wardrobe, loras = Tailor(pipeline), Wardrobe(), dict[str, Lora]()

    def wear() -> None:
        wardrobe.wear(tailor.outfit([Worn("it", "", loras["it"], 0.8)], encoders=False))

    def first() -> None:
        wardrobe.take_off()
        loras["it"] = read_lora(source, pipeline)
        wear()

    def cached() -> None:
        wardrobe.take_off()
        wear()

    def theirs() -> None:
        pipeline.load_lora_weights(str(source.path.parent), weight_name=source.path.name, adapter_name="it")
        pipeline.set_adapters(["it"], [0.8])

    def without_theirs() -> None:
        pipeline.unload_lora_weights()

    first()
    ours_says = answer(pipeline.unet)
    wardrobe.take_off()
    plain_says = answer(pipeline.unet)
    theirs()
    difference = (ours_says - answer(pipeline.unet)).abs().max() / ours_says.abs().max()
    without_theirs()
    ways: dict[str, Callable[[], None]] = {
        "ours, from the file": first,
        "ours, in memory": cached,
        "ours, off": wardrobe.take_off,
        "diffusers, on": theirs,
        "diffusers, off": without_theirs,
    }
    seconds = interleaved(ways)
    return {
        "command": "python -m bench.loras",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "layers": LAYERS,
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "ratio in memory to diffusers": round(seconds["ours, in memory"] / seconds["diffusers, on"], 4),
        "ratio from the file to diffusers": round(seconds["ours, from the file"] / seconds["diffusers, on"], 4),
        "largest difference of the networks' outputs, relative": float(f"{difference:.1e}"),
        "what the LoRA changes, relative": float(
            f"{(ours_says - plain_says).abs().max() / plain_says.abs().max():.1e}"
        ),
    }


def structure() -> Any:
    """A pipeline with a denoiser alone, built like that of Stable Diffusion XL."""
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(32, 64, 128),
        norm_num_groups=8,
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[1, 2, 10],
        attention_head_dim=[2, 4, 8],
        use_linear_projection=True,
        cross_attention_dim=64,
    ).eval()
    absent = dict.fromkeys(("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"))
    return StableDiffusionXLPipeline(unet=unet, **absent)


def factors(unet: Any) -> dict[str, torch.Tensor]:
    """In diffusers' format, for every linear layer of the transformers."""
    seeded = torch.Generator().manual_seed(0)
    layers = {
        name: layer for name, layer in unet.named_modules() if isinstance(layer, nn.Linear) and "attentions" in name
    }
    assert len(layers) == LAYERS, len(layers)
    tensors = {}
    for name, layer in layers.items():
        tensors[f"unet.{name}.lora_A.weight"] = torch.randn(RANK, layer.in_features, generator=seeded) * 0.1
        tensors[f"unet.{name}.lora_B.weight"] = torch.randn(layer.out_features, RANK, generator=seeded) * 0.1
    return tensors


@torch.no_grad()
def answer(unet: Any) -> torch.Tensor:
    seeded = torch.Generator().manual_seed(1)
    latents, text = torch.randn(1, 4, 16, 16, generator=seeded), torch.randn(1, 8, 64, generator=seeded)
    output: torch.Tensor = unet(latents, 500, text).sample
    return output


if __name__ == "__main__":
    main()
