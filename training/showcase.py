"""`python -m training.showcase`: generates the sheet of pictures for the README, each with its prompt."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoPipelineForText2Image
from PIL import Image, ImageDraw, ImageFont

from training.score import GUIDANCE, STEPS

ROOT = Path(__file__).parent.parent
PROMPTS = (
    "a yellow boat on the sea at noon",
    "a yellow star above a purple heart on white",
    "a sheep in a meadow with flowers and a rainbow",
    "a lake at sunset with a boat, oil painting",
    "a cat on a green background",
    "a green car on a gray background",
    "a desert at night with stars",
    "a forest in fog",
    "mountains at sunrise with clouds, watercolor",
    "pixel art of a city at night",
    "a city at night in the rain, comic",
    "blueprint of a rocket",
)
SEED, COLUMNS, SIDE, GAP, LINE = 7, 4, 256, 16, 40
INK, PAPER = (60, 56, 50), (248, 247, 245)


def main() -> None:
    pipeline = AutoPipelineForText2Image.from_pretrained(ROOT / "assets/models/embedded", dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator("cpu").manual_seed(SEED) for _ in PROMPTS]
    images = pipeline(list(PROMPTS), num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generators).images
    file = ROOT / "assets/readme/sheet.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    make_showcase_sheet(images).save(file, optimize=True)


def make_showcase_sheet(images: list[Image.Image]) -> Image.Image:
    rows = -(-len(images) // COLUMNS)
    canvas = Image.new("RGB", (COLUMNS * (SIDE + GAP) + GAP, rows * (SIDE + LINE + GAP) + GAP), PAPER)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    for number, (image, prompt) in enumerate(zip(images, PROMPTS, strict=True)):
        left = GAP + number % COLUMNS * (SIDE + GAP)
        top = GAP + number // COLUMNS * (SIDE + LINE + GAP)
        canvas.paste(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC), (left, top))
        words = prompt.split()
        half = next(n for n in range(len(words), 0, -1) if pen.textlength(" ".join(words[:n]), font) <= SIDE)
        lines = "\n".join(" ".join(part) for part in (words[:half], words[half:]) if part)
        pen.text((left, top + SIDE + 4), lines, INK, font)
    return canvas


if __name__ == "__main__":
    main()
