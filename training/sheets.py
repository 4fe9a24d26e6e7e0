"""`python -m training.sheets`: contact sheets of the model with different samplers, guidance, steps and tasks."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image
from PIL import Image

from imagegen.engine.samplers import SAMPLERS, create_scheduler
from imagegen.schema.field_types import SamplerName
from training.contact_sheet import Row, draw_contact_sheet
from training.machine import best_device
from training.score import GUIDANCE, STEPS

ROOT = Path(__file__).parent.parent
PROMPTS = (
    "a red house left of a blue car on hills in autumn",
    "a cat on a green background",
    "a lake at sunset with a boat, oil painting",
    "a city at night in the rain, comic",
    "a yellow star above a purple circle on white",
    "a snowy forest in the morning with a rabbit",
)
SEED, SIDE = 7, 192


@dataclass(frozen=True)
class SheetPainter:
    """A pipeline that generates PROMPTS with any options."""

    pipeline: Any

    def paint(self, pipeline: Any = None, **options: Any) -> list[Image.Image]:
        generators = [torch.Generator("cpu").manual_seed(SEED) for _ in PROMPTS]
        options = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, **options}
        images: list[Image.Image] = (pipeline or self.pipeline)(list(PROMPTS), generator=generators, **options).images
        return images

    def guidance(self) -> list[Row]:
        return [(f"guidance {scale:g}", self.paint(guidance_scale=scale)) for scale in (1.0, 2.0, 3.0, 5.0, 8.0)]

    def steps(self) -> list[Row]:
        return [(f"{steps} steps", self.paint(num_inference_steps=steps)) for steps in (8, 12, 20, 30, 50)]

    def negative(self) -> list[Row]:
        without = ("", "red", "green", "night", "house, car, cat, boat", "watercolor, comic, oil painting")
        return [
            (f"without {words}" if words else "all", self.paint(negative_prompt=[words] * len(PROMPTS)))
            for words in without
        ]

    def samplers(self) -> list[Row]:
        """Returns a row for each of the studio's samplers, except the one that needs a LoRA."""
        return [(name, self.sampled(name)) for name in SAMPLERS if name != "LCM"]

    def sampled(self, sampler: SamplerName, **options: Any) -> list[Image.Image]:
        before = self.pipeline.scheduler
        self.pipeline.scheduler = create_scheduler(sampler, before.config)
        images = self.paint(**options)
        self.pipeline.scheduler = before
        return images

    def image_to_image(self) -> list[Row]:
        pipeline, start = AutoPipelineForImage2Image.from_pipe(self.pipeline), self.paint()
        turned = start[1:] + start[:1]
        rows: list[Row] = [("from", turned)]
        for strength in (0.4, 0.6, 0.8):
            rows.append((f"strength {strength}", self.paint(pipeline, image=turned, strength=strength)))
        return rows

    def inpainting(self) -> list[Row]:
        pipeline, start = AutoPipelineForInpainting.from_pipe(self.pipeline), self.paint()
        side = start[0].width
        mask = np.zeros((side, side), np.uint8)
        mask[:, side // 2 :] = 255
        masks = [Image.fromarray(mask)] * len(start)
        turned = start[1:] + start[:1]
        inpainted = self.paint(pipeline, image=turned, mask_image=masks, width=side, height=side, strength=1.0)
        return [("from", turned), ("right half inpainted", inpainted)]

    def fast(self, lora: Path) -> list[Row]:
        rows: list[Row] = [(f"{STEPS} steps", self.paint())]
        self.pipeline.load_lora_weights(lora.parent, weight_name=lora.name)
        for steps in (2, 4, 8):
            rows.append((f"fast, {steps} steps", self.sampled("LCM", num_inference_steps=steps, guidance_scale=1.0)))
        self.pipeline.unload_lora_weights()
        return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.sheets", description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "assets/models/embedded")
    parser.add_argument("--loras", type=Path, default=ROOT / "assets/loras")
    parser.add_argument("--to", type=Path, default=ROOT / "build/sheets", help="folder for the sheets")
    arguments = parser.parse_args()
    pipeline = AutoPipelineForText2Image.from_pretrained(arguments.model, dtype=torch.float32).to(best_device())
    pipeline.set_progress_bar_config(disable=True)
    painter, fast = SheetPainter(pipeline), arguments.loras / "fast.safetensors"
    makers: list[Callable[[], list[Row]]] = [
        painter.guidance, painter.steps, painter.negative, painter.samplers, painter.image_to_image, painter.inpainting,
    ]  # fmt: skip
    arguments.to.mkdir(parents=True, exist_ok=True)
    for maker in makers:
        draw_contact_sheet(maker(), PROMPTS, SIDE).save(arguments.to / f"{maker.__name__}.webp", quality=90)
    if fast.exists():
        draw_contact_sheet(painter.fast(fast), PROMPTS, SIDE).save(arguments.to / "fast.webp", quality=90)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
