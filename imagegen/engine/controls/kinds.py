"""The kinds of ControlNets, by the name of their class in diffusers."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from imagegen.engine.controls.flux import FluxControlNet
from imagegen.engine.controls.kind import ControlNetKind
from imagegen.engine.controls.stable_diffusion_3 import StableDiffusion3ControlNet
from imagegen.engine.controls.unet import UnetControlNet, UnionControlNet
from imagegen.engine.controls.z_image import ZImageControlNet

CONTROLNET_KINDS: Mapping[str, ControlNetKind] = {
    kind.network_class.__name__: kind
    for kind in (
        UnetControlNet(),
        UnionControlNet(),
        StableDiffusion3ControlNet(),
        FluxControlNet(),
        ZImageControlNet(),
    )
}


def get_kind(network: nn.Module) -> ControlNetKind:
    """Returns the kind of a ControlNet that was loaded."""
    return CONTROLNET_KINDS[type(network).__name__]
