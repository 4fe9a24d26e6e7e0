"""Puts the VAE of a job in the place of its model's own."""

from __future__ import annotations

from typing import Any

from imagegen.engine.batching.proxies import create_vae_proxy
from imagegen.engine.models.loaded import LoadedModel
from imagegen.engine.models.network_cache import LoadedNetwork
from imagegen.engine.protocols import Pipeline
from imagegen.errors import InvalidRequest
from imagegen.library.network_index import has_config
from imagegen.schema.models import UNKNOWN_ARCHITECTURE

# How latents are scaled for the denoiser.
SCALING = ("scaling_factor", "shift_factor")


def apply_vae(pipeline: Pipeline, model: LoadedModel, vae: LoadedNetwork) -> None:
    """Makes the pipeline of a job encode and decode with a VAE, whose decoder the jobs share that use it.

    Raises InvalidRequest for a model whose networks are not shared.
    """
    if model.shared_networks is None:
        raise InvalidRequest("vae", "cannot be used with a model that shares a small GPU (low_memory)")
    own: Any = model.pipeline.vae
    network: Any = vae.network
    # On a small GPU, pictures are decoded one at a time and in tiles.
    for option in ("use_slicing", "use_tiling"):
        if hasattr(network, option):
            setattr(network, option, getattr(own, option, False))
    assert vae.shared is not None
    proxy: Any = create_vae_proxy(network, vae.shared)
    if gets_scaling(vae) and isinstance(own, type(network)):
        proxy.register_to_config(**{name: own.config.get(name) for name in SCALING})
    # Setting the attribute would make the pipeline rebuild its configuration.
    pipeline.__dict__ |= {"vae": proxy}


def gets_scaling(vae: LoadedNetwork) -> bool:
    """Returns whether nothing says for which models a VAE is, so that it gets the scaling of the job's model."""
    return vae.source.architecture == UNKNOWN_ARCHITECTURE and not has_config(vae.source.path)
