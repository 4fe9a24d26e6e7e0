"""Stand-ins for the networks of a pipeline, which ask all at once what several runs ask of them."""

from __future__ import annotations

import copy
import inspect
from typing import Any

from torch import Tensor, nn

from imagegen.engine.batching import Network
from imagegen.engine.loading import Pipeline
from imagegen.engine.wearing import Wardrobe


def share_networks(pipeline: Pipeline, denoiser: str, wardrobe: Wardrobe) -> dict[str, nn.Module]:
    """By the name of the component: what a run puts in its place."""
    network = getattr(pipeline, denoiser)
    names = list(inspect.signature(type(network).forward).parameters)[1:]
    return {
        denoiser: standing_in(network, "forward", Network(network, names, wardrobe)),
        "vae": standing_in(pipeline.vae, "decode", decoder(pipeline.vae)),
    }


def decoder(vae: Any) -> Network:
    """Each autoencoder has another name for what it decodes."""

    def decode(latents: Tensor, **options: Any) -> Any:
        return vae.decode(latents, **options)

    return Network(decode, ["latents"])


def standing_in(module: Any, method: str, ask: Network) -> nn.Module:
    """Another module with the same weights and configuration, one method of which asks."""
    other: nn.Module = copy.copy(module)
    for hooks in ("_forward_hooks", "_forward_pre_hooks"):  # They belong to the passes.
        setattr(other, hooks, type(getattr(module, hooks))())
    other.__dict__[method] = ask
    return other
