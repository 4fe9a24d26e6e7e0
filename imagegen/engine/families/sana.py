"""Sana."""

from __future__ import annotations

import torch

from imagegen.engine.families.base import ModelFamily
from imagegen.engine.protocols import Pipeline
from imagegen.library.family_facts import SANA


class Sana(ModelFamily):
    facts = SANA

    def prepare(self, pipeline: Pipeline, dtype: torch.dtype) -> None:
        """Keeps the autoencoder in float32 where its numbers would overflow in float16."""
        if dtype == torch.float16:
            pipeline.vae.to(torch.float32)
