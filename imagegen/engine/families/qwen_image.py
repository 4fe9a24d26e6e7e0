"""Qwen-Image. Its autoencoder is made for video, with a dimension of frames."""

from __future__ import annotations

from torch import Tensor

from imagegen.engine.batching.collate import BatchRules
from imagegen.engine.families.base import expand_channels
from imagegen.engine.families.packed import PackedLatentsFamily
from imagegen.engine.protocols import Pipeline
from imagegen.library.family_facts import QWEN_IMAGE


class QwenImage(PackedLatentsFamily):
    facts = QWEN_IMAGE
    batch_rules = BatchRules(repeated=("img_shapes",))

    def encode_latents(self, pipeline: Pipeline, images: Tensor) -> Tensor:
        config = pipeline.vae.config
        latents: Tensor = pipeline.vae.encode(images.unsqueeze(2)).latent_dist.mode()[:, :, 0]
        mean, std = (expand_channels(config[name], latents) for name in ("latents_mean", "latents_std"))
        return (latents - mean) / std
