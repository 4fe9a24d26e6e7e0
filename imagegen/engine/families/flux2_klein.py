"""FLUX.2 klein."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from imagegen.engine.families.base import expand_channels
from imagegen.engine.families.flux import POSITION_RULES
from imagegen.engine.families.packed import PackedLatentsFamily
from imagegen.engine.protocols import Pipeline
from imagegen.library.family_facts import FLUX2_KLEIN


class Flux2Klein(PackedLatentsFamily):
    """Patches of latents are normalized with the mean and variance that the autoencoder learned."""

    facts = FLUX2_KLEIN
    batch_rules = POSITION_RULES

    def encode_latents(self, pipeline: Pipeline, images: Tensor) -> Tensor:
        klein: Any = pipeline  # The methods are private to this class of pipelines.
        vae = klein.vae
        patches = klein._patchify_latents(vae.encode(images).latent_dist.mode())  # noqa: SLF001
        mean, variance = (expand_channels(values, patches) for values in (vae.bn.running_mean, vae.bn.running_var))
        normalized = (patches - mean) / (variance + vae.config.batch_norm_eps).sqrt()
        latents: Tensor = klein._unpatchify_latents(normalized)  # noqa: SLF001
        return latents
