"""ControlNets of Stable Diffusion 3 and 3.5, with diffusers' StableDiffusion3ControlNetPipeline as the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers import SD3ControlNetModel
from torch import Tensor, nn

from imagegen.engine.batching.collate import Arguments
from imagegen.engine.controls.borrowed_parts import copy_module
from imagegen.engine.controls.kind import Additions, Control, ControlNetKind, check_equal
from imagegen.engine.controls.latent_maps import check_widths, encode_map, get_tensor, weigh
from imagegen.engine.families.base import ModelFamily
from imagegen.engine.protocols import Pipeline


class StableDiffusion3ControlNet(ControlNetKind):
    network_class: ClassVar[type[nn.Module]] = SD3ControlNetModel

    def check(self, network: Any, denoiser: Any, pixels_per_latent: int) -> None:
        config = network.config
        if config.extra_conditioning_channels:
            raise ValueError("it is for inpainting, and needs a mask besides the picture, which is not supported")
        check_widths(network, denoiser)
        names = ("patch_size", "pooled_projection_dim")
        reads_prompt = config.joint_attention_dim is not None
        check_equal(network, denoiser, (*names, "joint_attention_dim") if reads_prompt else names)

    def build_condition(self, pixels: Tensor, network: Any, family: ModelFamily, pipeline: Pipeline) -> Tensor:
        """ControlNets without a pooled prompt were trained with latents that were not shifted."""
        latents = encode_map(pixels, family, pipeline)
        config = pipeline.vae.config
        is_shifted = not network.config.force_zeros_for_pooled_projection
        return latents if is_shifted else latents + (config.get("shift_factor") or 0) * config["scaling_factor"]

    def needs_denoiser(self, network: Any) -> bool:
        """ControlNets of the large Stable Diffusion 3.5 have no layer for latents of their own."""
        return network.pos_embed is None

    def complete(self, network: Any, denoiser: Any) -> nn.Module:
        completed: nn.Module = copy_module(network)
        completed.pos_embed = denoiser.pos_embed
        return completed

    def flatten_output(self, output: Any) -> tuple[Tensor, ...]:
        return tuple(output[0])

    def build_call(self, control: Control, arguments: Arguments) -> dict[str, object]:
        config = control.network.config
        sample, pooled = (get_tensor(arguments, name) for name in ("hidden_states", "pooled_projections"))
        reads_prompt = config.joint_attention_dim is not None
        return {
            "hidden_states": sample[:, : config.in_channels],
            "timestep": arguments["timestep"],
            "encoder_hidden_states": arguments["encoder_hidden_states"] if reads_prompt else None,
            "pooled_projections": torch.zeros_like(pooled) if config.force_zeros_for_pooled_projection else pooled,
            "controlnet_cond": control.condition.expand(len(sample), -1, -1, -1),
        }

    def build_additions(
        self, control: Control, features: Sequence[Tensor], arguments: Arguments, pictures: int
    ) -> Additions:
        """Each of the features is for several blocks, as in SD3Transformer2DModel."""
        weighed = weigh(features, control.use.weight)
        blocks = len(control.denoiser.transformer_blocks)
        places = [int(block / (blocks / len(weighed))) for block in range(blocks)]
        return {"block_controlnet_hidden_states": [weighed[place] for place in places]}
