"""The embedded model with a ControlNet, or without it, for scores and sheets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionPipeline
from torch import Tensor

from training.dataset import Pixels
from training.machine import Machine
from training.score import BATCH, GUIDANCE, STEPS


class ControlPipeline:
    """Draws prompts with maps. Picture i has the noise of seed i, with and without a ControlNet."""

    def __init__(self, pipeline: StableDiffusionPipeline, controlnet: ControlNetModel) -> None:
        self.machine = Machine()
        self.plain: Any = pipeline
        self.controlled: Any = StableDiffusionControlNetPipeline(
            **pipeline.components, controlnet=controlnet, requires_safety_checker=False
        )
        for each in (self.plain, self.controlled):
            each.to(self.machine.device)
            each.set_progress_bar_config(disable=True)

    @torch.inference_mode()
    def draw(self, prompts: Sequence[str], maps: Sequence[Tensor] | None, steps: int = STEPS) -> list[Pixels]:
        """Returns uint8 pictures of shape (h, w, 3). `maps` have the shape (3, h, w); without them, the model draws as
        it does without a ControlNet.
        """
        pictures: list[Pixels] = []
        for start in range(0, len(prompts), BATCH):
            part = list(prompts[start : start + BATCH])
            options: dict[str, Any] = {
                "num_inference_steps": steps,
                "guidance_scale": GUIDANCE,
                "generator": [torch.Generator("cpu").manual_seed(start + place) for place in range(len(part))],
                "output_type": "np",
            }
            if maps is not None:
                options["image"] = torch.stack(list(maps[start : start + BATCH]))
            with self.machine.autocast():
                output = (self.plain if maps is None else self.controlled)(part, **options)
            pictures += list((output.images * 255).round().astype("uint8"))
        return pictures
