"""ControlNets of Z-Image, with diffusers' ZImageControlNetPipeline as the model for the calls.

They have no layers for latents, prompts and timesteps of their own, and take those of their denoiser.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from diffusers import ZImageControlNetModel
from torch import Tensor, nn
from torch.nn import functional as F

from imagegen.engine.batching.collate import Arguments, BatchRules, select
from imagegen.engine.controls.borrowed_parts import copy_module
from imagegen.engine.controls.kind import Additions, Control, ControlNetKind
from imagegen.engine.controls.latent_maps import encode_map, weigh
from imagegen.engine.families.base import ModelFamily
from imagegen.engine.families.z_image import FEATURES_ARGUMENT, count_tokens
from imagegen.engine.protocols import Pipeline

# What a ControlNet and its denoiser must have in common.
SHARED_SETTINGS = ("dim", "n_heads", "n_kv_heads")


class ZImageControlNet(ControlNetKind):
    network_class: ClassVar[type[nn.Module]] = ZImageControlNetModel
    batch_rules: ClassVar[BatchRules] = BatchRules(timesteps=("t",), lists=("x", "cap_feats", "control_context"))

    def check(self, network: Any, denoiser: Any, pixels_per_latent: int) -> None:
        config, of_denoiser = network.config, denoiser.config
        if (config.dim, config.n_heads) != (of_denoiser.dim, of_denoiser.n_heads):
            raise ValueError(f"its tokens have {config.dim} numbers instead of {of_denoiser.dim}")
        if config.control_in_dim < of_denoiser.in_channels:
            raise ValueError(f"its control_in_dim is {config.control_in_dim} instead of {of_denoiser.in_channels}")
        if max(config.control_layers_places) >= of_denoiser.n_layers:
            raise ValueError(f"its control_layers_places are not below {of_denoiser.n_layers}")

    def build_condition(self, pixels: Tensor, network: Any, family: ModelFamily, pipeline: Pipeline) -> Tensor:
        """Some ControlNets have more channels, for inpainting; zeros stand for nothing to inpaint."""
        latents = encode_map(pixels, family, pipeline)
        missing = network.config.control_in_dim - latents.shape[1]
        return F.pad(latents, (0, 0, 0, 0, 0, missing)).unsqueeze(2)

    def needs_denoiser(self, network: Any) -> bool:
        return True

    def complete(self, network: Any, denoiser: Any) -> nn.Module:
        completed: nn.Module = ZImageControlNetModel.from_transformer(copy_module(network), denoiser)
        return completed

    def flatten_output(self, output: Any) -> tuple[Tensor, ...]:
        """Returns the features in the order of the ControlNet's layers."""
        return tuple(output.values())

    def build_call(self, control: Control, arguments: Arguments) -> dict[str, object]:
        latents = arguments["x"]
        assert isinstance(latents, list)
        shared = {name: arguments[name] for name in ("x", "t", "cap_feats")}
        return {**shared, "control_context": [control.condition[0]] * len(latents), "conditioning_scale": 1.0}

    def build_additions(
        self, control: Control, features: Sequence[Tensor], arguments: Arguments, pictures: int
    ) -> Additions:
        """Other calls in the same pass can have longer prompts: what is beyond the longest of this call is cut off."""
        tokens = count_tokens(arguments)
        weighed = weigh([each[:, :tokens] for each in select(features, Tensor)], control.use.weight)
        places = control.network.config.control_layers_places
        return {FEATURES_ARGUMENT: dict(zip(places, weighed, strict=True))}
