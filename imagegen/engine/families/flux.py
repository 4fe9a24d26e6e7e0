"""FLUX.1."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from imagegen.engine.batching.collate import BatchRules
from imagegen.engine.families.packed import PackedLatentsFamily
from imagegen.engine.ip_adapters.attention import FLUX_ARGUMENT, add_reference_attention
from imagegen.engine.log_filters import suppress_messages
from imagegen.engine.models.single_file import load_with_single_file_denoiser
from imagegen.engine.previews.projection import build_projection
from imagegen.engine.protocols import Pipeline, PipelineClass
from imagegen.library.family_facts import FLUX
from imagegen.schema.models import ModelSource
from imagegen.schema.tasks import TaskName

# transformers warns about image processors that no model here uses.
with suppress_messages("transformers.utils.import_utils", "`"):
    from diffusers import FluxFillPipeline

# Positions of the picture's patches and of the text's tokens: the same for each row.
POSITION_RULES = BatchRules(positions=("img_ids", "txt_ids"))


class Flux(PackedLatentsFamily):
    facts = FLUX
    batch_rules = replace(
        POSITION_RULES,
        additions=("controlnet_block_samples", "controlnet_single_block_samples", FLUX_ARGUMENT),
    )
    preview_projection = build_projection(
        [
            [-0.0346, 0.0244, 0.0681],
            [0.0034, 0.0210, 0.0687],
            [0.0275, -0.0668, -0.0433],
            [-0.0174, 0.0160, 0.0617],
            [0.0859, 0.0721, 0.0329],
            [0.0004, 0.0383, 0.0115],
            [0.0405, 0.0861, 0.0915],
            [-0.0236, -0.0185, -0.0259],
            [-0.0245, 0.0250, 0.1180],
            [0.1008, 0.0755, -0.0421],
            [-0.0515, 0.0201, 0.0011],
            [0.0428, -0.0012, -0.0036],
            [0.0817, 0.0765, 0.0749],
            [-0.1264, -0.0522, -0.1103],
            [-0.0280, -0.0881, -0.0499],
            [-0.1262, -0.0982, -0.0778],
        ],
        (-0.0329, -0.0718, -0.0851),
    )
    single_file_networks = ("FluxTransformer2DModel",)

    def load_from_file(self, source: ModelSource, config: Path, dtype: torch.dtype) -> Pipeline:
        return load_with_single_file_denoiser(source, config, dtype, self.single_file_networks[0])

    def prepare(self, pipeline: Pipeline, dtype: torch.dtype) -> None:
        add_reference_attention(self.get_denoiser(pipeline))

    def choose_pipeline_class(self, pipeline: Pipeline, task: TaskName) -> PipelineClass | None:
        """The denoiser of FLUX.1 Fill gets the mask and the picture around it, too."""
        denoiser: Any = self.get_denoiser(pipeline)
        is_fill = denoiser.config.in_channels == self.facts.inpainting_channels
        return FluxFillPipeline if task == "inpainting" and is_fill else None
