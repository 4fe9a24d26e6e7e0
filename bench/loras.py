"""`python -m bench.loras [MODEL]`: merging a LoRA, compared with diffusers, on the denoiser of SDXL.

The LoRA adapts all 722 layers. By default the model is thin-sdxl, with few channels, which shows the overhead per
layer; sdxl is for a GPU. Measures seconds of the median round; each round runs both in turns. A swap ends with the
first output of the network. The outputs of both are compared first.
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

from bench.contender_process import describe_machine
from bench.create_models import NETWORKS, NetworkSpec, unet_config
from bench.roofline import synchronise
from bench.timing import ROUNDS, save_model_result, time_interleaved
from imagegen.engine.adapters.lora_file import Lora, read_lora
from imagegen.engine.adapters.merge import AdapterResolver, WeightedLora, WeightPatcher
from imagegen.engine.devices import choose_device, choose_dtype
from imagegen.schema.models import AdapterSource

LAYERS = 722
RANK = 8


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.loras", description=__doc__)
    parser.add_argument("model", nargs="?", default="thin-sdxl", choices=["thin-sdxl", "sdxl"])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    spec = NETWORKS[arguments.model]
    if spec.thin:
        torch.set_num_threads(1)  # With so few channels, threads only wait for each other.
    pipeline = build_unet_pipeline(spec, choose_device("auto"))
    with TemporaryDirectory() as folder:
        file = Path(folder) / "lora.safetensors"
        save_file(make_lora_weights(pipeline.unet), file)
        source = AdapterSource(kind="lora", id="it", name="it", path=file, sha256="", architecture="")
        report = measure_loras(pipeline, source, arguments.rounds)
    save_model_result("loras", describe_machine("auto"), arguments.model, report)


def measure_loras(pipeline: Any, source: AdapterSource, rounds: int) -> dict[str, object]:
    resolver, patcher, loras = AdapterResolver(pipeline), WeightPatcher(), dict[str, Lora]()
    device = pipeline.unet.device

    def synchronized(action: Callable[[], object]) -> Callable[[], None]:
        def run_and_synchronize() -> None:
            action()
            synchronise(device)

        return run_and_synchronize

    def merge_lora() -> None:
        patcher.merge(resolver.resolve([WeightedLora("it", "", loras["it"], 0.8)], for_encoders=False))

    def read_and_merge() -> None:
        patcher.unmerge()
        loras["it"] = read_lora(source)
        merge_lora()

    def merge_cached() -> None:
        patcher.unmerge()
        merge_lora()

    def swap() -> None:
        merge_cached()
        run_unet(pipeline.unet)

    def load_with_diffusers() -> None:
        pipeline.load_lora_weights(str(source.path.parent), weight_name=source.path.name, adapter_name="it")
        pipeline.set_adapters(["it"], [0.8])

    def unload_with_diffusers() -> None:
        pipeline.unload_lora_weights()

    def swap_with_diffusers() -> None:
        unload_with_diffusers()
        load_with_diffusers()
        run_unet(pipeline.unet)

    read_and_merge()
    merged_output = run_unet(pipeline.unet)
    patcher.unmerge()
    base_output = run_unet(pipeline.unet)
    load_with_diffusers()
    difference = (merged_output - run_unet(pipeline.unet)).abs().max() / merged_output.abs().max()
    unload_with_diffusers()
    actions: dict[str, Callable[[], None]] = {
        "ours, from the file": read_and_merge,
        "ours, in memory": merge_cached,
        "ours, off": patcher.unmerge,
        "diffusers, on": load_with_diffusers,
        "diffusers, off": unload_with_diffusers,
        "ours, swap and first step": swap,
        "ours, off again": patcher.unmerge,
        "diffusers, swap and first step": swap_with_diffusers,
        "diffusers, off again": unload_with_diffusers,
    }
    seconds = time_interleaved({name: synchronized(action) for name, action in actions.items()}, rounds)
    return {
        "layers": LAYERS,
        "dtype": str(pipeline.unet.dtype).removeprefix("torch."),
        "seconds": {name: round(value, 4) for name, value in seconds.items() if "again" not in name},
        "ratio in memory to diffusers": round(seconds["ours, in memory"] / seconds["diffusers, on"], 4),
        "ratio from the file to diffusers": round(seconds["ours, from the file"] / seconds["diffusers, on"], 4),
        "largest difference of the networks' outputs, relative": float(f"{difference:.1e}"),
        "what the LoRA changes, relative": float(
            f"{(merged_output - base_output).abs().max() / base_output.abs().max():.1e}"
        ),
    }


def build_unet_pipeline(spec: NetworkSpec, device: torch.device) -> Any:
    """Returns a pipeline that has only a denoiser."""
    torch.manual_seed(0)
    with device:
        unet = UNet2DConditionModel.from_config(unet_config(spec)).to(
            torch.float32 if spec.thin else choose_dtype(device)
        )
    absent = dict.fromkeys(("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"))
    return StableDiffusionXLPipeline(unet=unet.eval(), **absent)


def make_lora_weights(unet: Any) -> dict[str, torch.Tensor]:
    """Returns a LoRA in diffusers' format for every linear layer of the transformers."""
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
def run_unet(unet: Any) -> torch.Tensor:
    """Returns the output of one forward pass with fixed inputs, in float32 on the CPU."""

    def random_tensor(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(unet.device, unet.dtype)

    config = unet.config
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    extra = {"text_embeds": random_tensor(1, pooled), "time_ids": random_tensor(1, 6)}
    text = random_tensor(1, 8, config.cross_attention_dim)
    output: torch.Tensor = unet(random_tensor(1, 4, 16, 16), 500, text, added_cond_kwargs=extra).sample
    return output.float().cpu()


if __name__ == "__main__":
    main()
