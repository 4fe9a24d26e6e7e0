"""`python -m bench.loras [MODEL]`: putting a LoRA on, beside diffusers' own way, on the denoiser of SDXL.

It has all 722 layers that a LoRA for it adapts. Given no model it is thin-sdxl, with few channels: what is measured is
the work per layer; for a GPU there is sdxl. Seconds of the median round; each round does both, one after the other. A
swap ends with the first answer of the network. What it answers with either is compared first.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from torch import nn

from bench.floors import synchronise
from bench.networks import KINDS, Kind, unet_config
from bench.rivals import machine
from bench.timing import ROUNDS, interleaved, keep_model
from imagegen.engine.devices import chosen_device, dtype_for
from imagegen.engine.loras import Lora, read_lora
from imagegen.engine.wearing import Tailor, Wardrobe, Worn
from imagegen.info import AdapterSource

LAYERS = 722
RANK = 8


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.loras", description=__doc__)
    parser.add_argument("model", nargs="?", default="thin-sdxl", choices=["thin-sdxl", "sdxl"])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    kind = KINDS[arguments.model]
    if kind.thin:
        torch.set_num_threads(1)  # With so few channels threads only wait for each other.
    pipeline = structure(kind, chosen_device("auto"))
    with TemporaryDirectory() as folder:
        file = Path(folder) / "lora.safetensors"
        save_file(factors(pipeline.unet), file)
        source = AdapterSource(kind="lora", id="it", name="it", path=file, sha256="", architecture="")
        report = measured(pipeline, source, arguments.rounds)
    keep_model("loras", machine("auto"), arguments.model, report)


def measured(pipeline: Any, source: AdapterSource, rounds: int) -> dict[str, object]:
    tailor, wardrobe, loras = Tailor(pipeline), Wardrobe(), dict[str, Lora]()
    device = pipeline.unet.device

    def finished(way: Callable[[], object]) -> Callable[[], None]:
        def whole() -> None:
            way()
            synchronise(device)

        return whole

    def wear() -> None:
        wardrobe.wear(tailor.outfit([Worn("it", "", loras["it"], 0.8)], encoders=False))

    def first() -> None:
        wardrobe.take_off()
        loras["it"] = read_lora(source, pipeline)
        wear()

    def cached() -> None:
        wardrobe.take_off()
        wear()

    def swap() -> None:
        cached()
        answer(pipeline.unet)

    def theirs() -> None:
        pipeline.load_lora_weights(str(source.path.parent), weight_name=source.path.name, adapter_name="it")
        pipeline.set_adapters(["it"], [0.8])

    def without_theirs() -> None:
        pipeline.unload_lora_weights()

    def swap_theirs() -> None:
        without_theirs()
        theirs()
        answer(pipeline.unet)

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
        "ours, swap and first step": swap,
        "ours, off again": wardrobe.take_off,
        "diffusers, swap and first step": swap_theirs,
        "diffusers, off again": without_theirs,
    }
    seconds = interleaved({name: finished(way) for name, way in ways.items()}, rounds)
    return {
        "layers": LAYERS,
        "dtype": str(pipeline.unet.dtype).removeprefix("torch."),
        "seconds": {name: round(value, 4) for name, value in seconds.items() if "again" not in name},
        "ratio in memory to diffusers": round(seconds["ours, in memory"] / seconds["diffusers, on"], 4),
        "ratio from the file to diffusers": round(seconds["ours, from the file"] / seconds["diffusers, on"], 4),
        "largest difference of the networks' outputs, relative": float(f"{difference:.1e}"),
        "what the LoRA changes, relative": float(
            f"{(ours_says - plain_says).abs().max() / plain_says.abs().max():.1e}"
        ),
    }


def structure(kind: Kind, device: torch.device) -> Any:
    """A pipeline with a denoiser alone."""
    torch.manual_seed(0)
    with device:
        unet = UNet2DConditionModel.from_config(unet_config(kind)).to(torch.float32 if kind.thin else dtype_for(device))
    absent = dict.fromkeys(("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"))
    return StableDiffusionXLPipeline(unet=unet.eval(), **absent)


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
    def numbers(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(unet.device, unet.dtype)

    config = unet.config
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    extra = {"text_embeds": numbers(1, pooled), "time_ids": numbers(1, 6)}
    text = numbers(1, 8, config.cross_attention_dim)
    output: torch.Tensor = unet(numbers(1, 4, 16, 16), 500, text, added_cond_kwargs=extra).sample
    return output.float().cpu()


if __name__ == "__main__":
    main()
