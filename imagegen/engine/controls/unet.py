"""ControlNets of Stable Diffusion 1, 2 and XL: a copy of the UNet's first half that also sees a picture.

What it computes is added to the UNet's features at the same places (Zhang et al. 2023,
https://arxiv.org/abs/2302.05543). A union ControlNet also gets the type of its control map
(https://github.com/xinsir6/ControlNetPlus).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers import ControlNetModel, ControlNetUnionModel
from torch import Tensor, nn

from imagegen.engine.batching.collate import Arguments
from imagegen.engine.controls.kind import Additions, Control, ControlNetKind, check_equal
from imagegen.engine.families.base import ModelFamily
from imagegen.engine.protocols import Pipeline
from imagegen.schema.controls import ControlUse

# What a ControlNet and its UNet must have in common.
SHARED_SETTINGS = ("block_out_channels", "layers_per_block", "cross_attention_dim")
# The arguments of a UNet's call that a ControlNet gets too.
SHARED_ARGUMENTS = ("timestep", "encoder_hidden_states", "class_labels", "timestep_cond", "added_cond_kwargs")
# By how much the features of each level are weakened, from the innermost outwards, if the prompt or the control counts
# more: as in the web UI's extension (https://github.com/Mikubill/sd-webui-controlnet, "soft injection").
LEVEL_FACTOR = 0.825


class UnetControlNet(ControlNetKind):
    network_class: ClassVar[type[nn.Module]] = ControlNetModel

    def check(self, network: Any, denoiser: Any, pixels_per_latent: int) -> None:
        """Each layer that sees the control map but the first halves the map's sides."""
        check_equal(network, denoiser, SHARED_SETTINGS)
        halvings = len(network.config.conditioning_embedding_out_channels) - 1
        if 2**halvings != pixels_per_latent:
            raise ValueError(f"latents of the model stand for {pixels_per_latent} pixels")

    def build_condition(self, pixels: Tensor, network: Any, family: ModelFamily, pipeline: Pipeline) -> Tensor:
        return pixels

    def flatten_output(self, output: Any) -> tuple[Tensor, ...]:
        """Returns the features with the innermost last."""
        down, mid = output
        return (*down, mid)

    def build_call(self, control: Control, arguments: Arguments) -> dict[str, object]:
        sample = arguments["sample"]
        assert isinstance(sample, Tensor)
        shared = {name: arguments[name] for name in SHARED_ARGUMENTS if arguments.get(name) is not None}
        return {
            "sample": sample[:, : control.network.config.in_channels],
            **shared,
            "conditioning_scale": 1.0,
            **self._build_map_arguments(control, control.condition.expand(len(sample), -1, -1, -1)),
        }

    def _build_map_arguments(self, control: Control, condition: Tensor) -> dict[str, object]:
        return {"controlnet_cond": condition}

    def build_additions(
        self, control: Control, features: Sequence[Tensor], arguments: Arguments, pictures: int
    ) -> Additions:
        sample = arguments["sample"]
        assert isinstance(sample, Tensor)
        *down, mid = weigh_levels(features, control.use, len(sample), pictures)
        return {"down_block_additional_residuals": tuple(down), "mid_block_additional_residual": mid}


class UnionControlNet(UnetControlNet):
    """A ControlNet for control maps of several types."""

    network_class: ClassVar[type[nn.Module]] = ControlNetUnionModel

    def _build_map_arguments(self, control: Control, condition: Tensor) -> dict[str, object]:
        assert control.type_index is not None
        types = condition.new_zeros((len(condition), control.network.config.num_control_type))
        types[:, control.type_index] = 1
        return {"controlnet_cond": [condition], "control_type": types, "control_type_idx": [control.type_index]}


def weigh_levels(levels: Sequence[Tensor], use: ControlUse, rows: int, pictures: int) -> list[Tensor]:
    """Returns the features of a ControlNet, with the innermost last, as its weight and mode say.

    If the control counts more, only the rows with the prompt get them, which are the last `pictures` of `rows`.
    """
    is_soft = use.mode != "balanced"
    factors = [use.weight * LEVEL_FACTOR ** (len(levels) - 1 - level if is_soft else 0) for level in range(len(levels))]
    weighed = [tensor * factor for tensor, factor in zip(levels, factors, strict=True)]
    if use.mode == "control" and rows > pictures:
        has_prompt = (torch.arange(rows, device=levels[0].device) >= rows - pictures).to(levels[0].dtype)
        weighed = [tensor * has_prompt.view(-1, 1, 1, 1) for tensor in weighed]
    return weighed
