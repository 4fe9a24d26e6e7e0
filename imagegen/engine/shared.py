"""Stand-ins for the networks of a pipeline, which ask all at once what several runs ask of them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from imagegen.engine.batching import Network
from imagegen.engine.loading import Pipeline
from imagegen.engine.quick import Quick, Workshop
from imagegen.engine.wearing import Wardrobe


@dataclass(frozen=True)
class Shared:
    """`stand_ins` are what a run puts in the place of a pipeline's components, by their names; `networks` answer."""

    stand_ins: Mapping[str, nn.Module]
    networks: Mapping[str, Network]

    def forget(self) -> bool:
        """What was made quick, for the memory that it takes; whether there was any."""
        forgotten = [network.quick.forget() for network in self.networks.values()]
        return any(forgotten)

    def take_over(self, before: Shared) -> None:
        """What was made quick for some weights is quick for those that take their place."""
        for name, network in before.networks.items():
            self.networks[name].quick.take_over(network.quick)


def share_networks(pipeline: Pipeline, denoiser: str, wardrobe: Wardrobe, workshop: Workshop | None) -> Shared:
    network = getattr(pipeline, denoiser)
    names = list(inspect.signature(type(network).forward).parameters)[1:]
    asked = Network(names, Quick(network, network, "forward", workshop), wardrobe)
    decoding = decoder(pipeline.vae, workshop)
    stand_ins = {denoiser: standing_in(network, forward=asked), "vae": autoencoder(pipeline.vae, decoding)}
    return Shared(stand_ins, {denoiser: asked, "vae": decoding})


def decoder(vae: Any, workshop: Workshop | None) -> Network:
    """Each autoencoder has another name for what it decodes. It may be more precise than the denoiser."""

    def decode(latents: Tensor, **options: Any) -> Any:
        return vae.decode(latents.to(vae.dtype), **options)

    return Network(["latents"], Quick(decode, vae, "decode", workshop))


def autoencoder(vae: Any, decoding: Network) -> nn.Module:
    """Nothing is drawn by chance when it decodes."""

    def decode(latents: Tensor, generator: Any = None, **options: Any) -> Any:
        return decoding(latents, **options)

    def encode(pictures: Tensor, **options: Any) -> Any:
        return vae.encode(pictures.to(vae.dtype), **options)

    return standing_in(vae, decode=decode, encode=encode)


def standing_in(module: Any, **methods: Callable[..., Any]) -> nn.Module:
    """Another module with the same weights and configuration, and with some methods of its own."""
    other: nn.Module = copy.copy(module)
    for hooks in ("_forward_hooks", "_forward_pre_hooks"):  # They belong to the passes.
        setattr(other, hooks, type(getattr(module, hooks))())
    other.__dict__ |= methods
    return other
