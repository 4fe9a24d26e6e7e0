"""Stable Diffusion 1, 2 and XL: a UNet, and text encoders of CLIP whose prompts we encode."""

from __future__ import annotations

from pathlib import Path

import torch

from imagegen.engine.batching.collate import BatchRules
from imagegen.engine.families.base import ModelFamily
from imagegen.engine.ip_adapters.attention import UNET_ARGUMENT, add_reference_attention
from imagegen.engine.models.single_file import load_stable_diffusion
from imagegen.engine.previews.projection import build_projection
from imagegen.engine.prompts.clip import PromptEncoder, build_prompt_encoder
from imagegen.engine.protocols import Pipeline
from imagegen.library.family_facts import STABLE_DIFFUSION, STABLE_DIFFUSION_XL
from imagegen.schema.models import ModelSource


class StableDiffusion(ModelFamily):
    """Stable Diffusion 1 and 2."""

    facts = STABLE_DIFFUSION
    batch_rules = BatchRules(
        additions=("down_block_additional_residuals", "mid_block_additional_residual", UNET_ARGUMENT)
    )
    preview_projection = build_projection(
        [[0.3512, 0.2297, 0.3227], [0.3250, 0.4974, 0.2350], [-0.2829, 0.1762, 0.2721], [-0.2120, -0.2616, -0.7177]]
    )
    single_file_networks = ("UNet2DConditionModel", "AutoencoderKL")

    def load_from_file(self, source: ModelSource, config: Path, dtype: torch.dtype) -> Pipeline:
        return load_stable_diffusion(source, config, dtype)

    def prepare(self, pipeline: Pipeline, dtype: torch.dtype) -> None:
        add_reference_attention(self.get_denoiser(pipeline))

    def create_prompt_encoder(self, pipeline: Pipeline) -> PromptEncoder | None:
        return build_prompt_encoder(pipeline)


class StableDiffusionXL(StableDiffusion):
    facts = STABLE_DIFFUSION_XL
    preview_projection = build_projection(
        [[0.3651, 0.4232, 0.4341], [-0.2533, -0.0042, 0.1068], [0.1076, 0.1111, -0.0362], [-0.3165, -0.2492, -0.2188]],
        (0.1084, -0.0175, -0.0011),
    )
