"""ControlNets of FLUX.1, with diffusers' FluxControlNetPipeline as the model for the calls.

There are three forms: most get the latents of the control map, those of XLabs its pixels, and union ControlNets also
the type of the map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers import FluxControlNetModel
from torch import Tensor, nn

from imagegen.engine.batching.collate import Arguments, BatchRules
from imagegen.engine.controls.kind import Additions, Control, ControlNetKind, check_equal
from imagegen.engine.controls.latent_maps import check_widths, encode_map, get_tensor, weigh
from imagegen.engine.families.base import ModelFamily
from imagegen.engine.families.packed import pack_latents
from imagegen.engine.protocols import Pipeline

SHARED_ARGUMENTS = ("timestep", "pooled_projections", "encoder_hidden_states", "txt_ids", "img_ids")
SHARED_SETTINGS = ("joint_attention_dim", "pooled_projection_dim")
# Pixels of a side of a token, after the layers for the pixels of a control map have halved it three times.
PIXEL_PATCH = 2


class FluxControlNet(ControlNetKind):
    network_class: ClassVar[type[nn.Module]] = FluxControlNetModel
    batch_rules: ClassVar[BatchRules] = BatchRules(positions=("img_ids", "txt_ids"))

    def check(self, network: Any, denoiser: Any, pixels_per_latent: int) -> None:
        check_widths(network, denoiser)
        check_equal(network, denoiser, SHARED_SETTINGS)
        if network.input_hint_block is not None and network.config.patch_size != PIXEL_PATCH:
            raise ValueError(f"its patch_size is {network.config.patch_size} instead of {PIXEL_PATCH}")

    def build_condition(self, pixels: Tensor, network: Any, family: ModelFamily, pipeline: Pipeline) -> Tensor:
        sees_pixels = network.input_hint_block is not None
        return pixels * 2 - 1 if sees_pixels else pack_latents(encode_map(pixels, family, pipeline))

    def flatten_output(self, output: Any) -> tuple[Tensor, ...]:
        double, single = output
        return (*(double or ()), *(single or ()))

    def build_call(self, control: Control, arguments: Arguments) -> dict[str, object]:
        config, condition = control.network.config, control.condition
        sample = get_tensor(arguments, "hidden_states")
        rows = len(sample)
        call: dict[str, object] = {
            "hidden_states": sample[..., : config.in_channels],
            **{name: arguments[name] for name in SHARED_ARGUMENTS},
            "controlnet_cond": condition.expand(rows, *condition.shape[1:]),
        }
        if config.guidance_embeds:
            call["guidance"] = find_guidance(control, arguments, sample)
        if control.type_index is not None:
            call["controlnet_mode"] = torch.full((rows, 1), control.type_index, device=sample.device)
        return call

    def build_additions(
        self, control: Control, features: Sequence[Tensor], arguments: Arguments, pictures: int
    ) -> Additions:
        weighed = weigh(features, control.use.weight)
        count = control.network.config.num_layers
        double, single = weighed[:count], weighed[count:]
        repeats = control.network.input_hint_block is not None
        blocks = control.denoiser.transformer_blocks, control.denoiser.single_transformer_blocks
        found = {
            "controlnet_block_samples": spread(double, len(blocks[0]), repeats),
            "controlnet_single_block_samples": spread(single, len(blocks[1]), repeats=False),
        }
        return {name: each for name, each in found.items() if each}


def find_guidance(control: Control, arguments: Arguments, sample: Tensor) -> object:
    """Returns the guidance scale of each row, also for a denoiser that does not take any."""
    own = arguments.get("guidance")
    pipeline: Any = control.pipeline
    return own if own is not None else torch.full((len(sample),), float(pipeline.guidance_scale), device=sample.device)


def spread(features: Sequence[Tensor], blocks: int, repeats: bool) -> list[Tensor]:
    """Returns the features for each block of the denoiser, as in FluxTransformer2DModel.

    Each of them is for several blocks in a row, or if it `repeats`, for every so many.
    """
    if not features:
        return []
    interval = math.ceil(blocks / len(features))
    return [features[block % len(features) if repeats else block // interval] for block in range(blocks)]
