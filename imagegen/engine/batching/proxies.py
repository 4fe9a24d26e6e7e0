"""Proxies for the networks of a pipeline: calls of several jobs become one forward pass."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from imagegen.engine.adapters.merge import WeightPatcher
from imagegen.engine.batching.collate import BatchRules, NetworkOutput
from imagegen.engine.batching.network import BatchedNetwork
from imagegen.engine.compile.accelerator import Accelerator, CompilePool
from imagegen.engine.families.base import ModelFamily
from imagegen.engine.models.tiling import call_with_tiles_if_short, work_in_tiles
from imagegen.engine.protocols import Autoencoder, Pipeline


@dataclass(frozen=True)
class SharedNetworks:
    """`proxies` take the place of a pipeline's components, by name; their calls go to the `networks` of these names."""

    proxies: Mapping[str, nn.Module]
    networks: Mapping[str, BatchedNetwork]

    def clear_compiled(self) -> bool:
        """Drops compiled code and CUDA graphs. Returns whether there were any."""
        cleared = [network.accelerator.clear() for network in self.networks.values()]
        return any(cleared)

    def adopt_compiled(self, previous: SharedNetworks) -> None:
        """Takes over the compiled code and CUDA graphs of networks whose device tensors now hold these weights."""
        for name, network in previous.networks.items():
            self.networks[name].accelerator.adopt(network.accelerator)


def share_networks(
    pipeline: Pipeline, family: ModelFamily, patcher: WeightPatcher, compile_pool: CompilePool | None
) -> SharedNetworks:
    """Returns proxies for the denoiser and the autoencoder of a pipeline that is on the device."""
    denoiser, name = family.get_denoiser(pipeline), family.facts.denoiser
    parameters = list(inspect.signature(type(denoiser).forward).parameters)[1:]
    accelerator = Accelerator(denoiser, denoiser, "forward", compile_pool, family.batch_rules)
    denoiser_network = BatchedNetwork(parameters, accelerator, family.batch_rules, patcher)
    decoder_network = create_decoder_network(pipeline.vae, compile_pool)
    proxies = {
        name: module_proxy(denoiser, forward=denoiser_network),
        "vae": create_vae_proxy(pipeline.vae, decoder_network),
    }
    return SharedNetworks(proxies, {name: denoiser_network, "vae": decoder_network})


def create_decoder_network(vae: Autoencoder, compile_pool: CompilePool | None) -> BatchedNetwork:
    """Each class of autoencoders has its own name for the latents. It may be more precise than the denoiser."""

    def decode(latents: Tensor, **options: object) -> NetworkOutput:
        output: NetworkOutput = vae.decode(latents.to(vae.dtype), **options)
        return output

    def decode_in_tiles(**arguments: Any) -> NetworkOutput:
        with work_in_tiles(vae):
            return decode(**arguments)

    rules = BatchRules(timesteps=())
    accelerator = Accelerator(decode, vae, "decode", compile_pool, rules)
    return BatchedNetwork(["latents"], accelerator, rules, run_in_little_memory=decode_in_tiles)


def create_vae_proxy(vae: Autoencoder, decoder_network: BatchedNetwork) -> nn.Module:
    """The generator is dropped: no autoencoder here draws random numbers when it decodes."""

    def decode(latents: Tensor, generator: object = None, **options: object) -> NetworkOutput:
        return decoder_network(latents, **options)

    def encode(images: Tensor, **options: object) -> object:
        return call_with_tiles_if_short(vae, lambda: vae.encode(images.to(vae.dtype), **options))

    return module_proxy(vae, decode=decode, encode=encode)


def module_proxy(module: object, **methods: Callable[..., object]) -> nn.Module:
    """Returns another module with the same weights and configuration, and with some methods of its own."""
    proxy = copy.copy(module)
    assert isinstance(proxy, nn.Module)
    for hooks in ("_forward_hooks", "_forward_pre_hooks"):  # Hooks run in the passes of the network itself.
        setattr(proxy, hooks, type(getattr(module, hooks))())
    proxy.__dict__ |= methods
    return proxy
