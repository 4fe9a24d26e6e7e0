"""`python -m training.lora_card`: measures how reliably the LoRA applies its style, and writes its card."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoPipelineForText2Image
from PIL import Image

from training.contact_sheet import Row, draw_contact_sheet
from training.dataset import Pixels
from training.drawing.vocabulary import Backdrop
from training.judge import WEIGHTS, Judge, classify_pictures, load_judge
from training.lora import LAYERS, METADATA, RANK, TRIGGER
from training.machine import best_device
from training.neon_detector import is_neon
from training.recipe import RECIPES, Recipe
from training.score import BATCH, GUIDANCE, SAMPLING, STEPS, Trial, make_trials

ROOT = Path(__file__).parent.parent
STRENGTHS, PROMPTS, SIDE = (0.0, 0.3, 0.6, 1.0, 1.2), 60, 128
SHEET = (
    "a yellow star on a purple background",
    "a large red heart on a white background",
    "mountains at night with a full moon",
    "a boat on the sea at sunset",
    "a city at night",
    "a hot air balloon over hills",
    "a green triangle on white",
    "the desert at sunrise with the sun",
)
SHEET_WEIGHTS, SHEET_SEED = (0.0, 0.5, 1.0), 7


@dataclass(frozen=True)
class Line:
    """Shares of pictures at one weight: neon with and without the trigger, and things in the right place."""

    weight: float
    triggered: float
    plain: float
    in_place: float


class LoraPipeline:
    """The embedded model with the LoRA at any weight."""

    def __init__(self, model: Path, file: Path) -> None:
        self.pipeline: Any = AutoPipelineForText2Image.from_pretrained(model, dtype=torch.float32)
        self.pipeline.to(best_device())
        self.pipeline.set_progress_bar_config(disable=True)
        self.pipeline.load_lora_weights(file.parent, weight_name=file.name, adapter_name="lora")

    @torch.inference_mode()
    def paint(self, prompts: list[str], weight: float, first_seed: int = 0, seed_step: int = 1) -> Pixels:
        self.pipeline.set_adapters("lora", weight)
        images: list[Image.Image] = []
        for start in range(0, len(prompts), BATCH):
            batch = prompts[start : start + BATCH]
            seeds = [first_seed + seed_step * (start + i) for i in range(len(batch))]
            generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
            output = self.pipeline(batch, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generators)
            images += output.images
        return np.stack([np.asarray(image) for image in images])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.lora_card", description=__doc__)
    parser.add_argument("--recipe", choices=RECIPES, default="small")
    parser.add_argument("--model", type=Path, default=ROOT / "assets/models/embedded")
    parser.add_argument("--loras", type=Path, default=ROOT / "assets/loras")
    parser.add_argument("--judge", type=Path, default=WEIGHTS)
    arguments = parser.parse_args()
    recipe = RECIPES[arguments.recipe]
    painter = LoraPipeline(arguments.model, arguments.loras / "neon.safetensors")
    make_lora_sheet(painter).save(arguments.loras / "contact-sheet.png", optimize=True)
    write_lora_card(
        measure_weights(painter, load_judge(arguments.judge), recipe), recipe, arguments.loras / "README.md"
    )


def measure_weights(painter: LoraPipeline, judge: Judge, recipe: Recipe) -> list[Line]:
    trials = make_trials(PROMPTS, recipe.size)
    lines = []
    for weight in STRENGTHS:
        triggered = painter.paint([f"{trial.prompt}, {TRIGGER}" for trial in trials], weight)
        plain = painter.paint([trial.prompt for trial in trials], weight)
        line = Line(weight, share_of_neon(triggered), share_of_neon(plain), share_in_place(trials, judge, triggered))
        print(line, flush=True)
        lines.append(line)
    return lines


def share_of_neon(pictures: Pixels) -> float:
    return float(np.mean([is_neon(picture) for picture in pictures]))


def share_in_place(trials: list[Trial], judge: Judge, pictures: Pixels) -> float:
    """Returns the share of pictures with a scene, or with things where the prompt puts them, according to the judge."""
    right = []
    for trial, answer in zip(trials, classify_pictures(judge, pictures), strict=True):
        if isinstance(trial.picture.place, Backdrop):
            right.append((answer["place"], answer["layout"]) == ("backdrop", trial.picture.layout))
        else:
            right.append(answer["place"] == "scene")
    return float(np.mean(right))


def write_lora_card(lines: list[Line], recipe: Recipe, file: Path) -> None:
    rows = "\n".join(
        f"| {line.weight} | {line.triggered:.0%} | {line.plain:.0%} | {line.in_place:.0%} |" for line in lines
    )
    template = (Path(__file__).parent / "lora_card.md").read_text(encoding="utf-8")
    card = template.format(
        rows=rows,
        description=METADATA["modelspec.description"],
        trigger=TRIGGER,
        rank=RANK,
        layers=", ".join(f"`{layer}`" for layer in LAYERS),
        pictures=f"{recipe.lora_pictures:,}",
        steps=recipe.lora_steps,
        batch=recipe.lora_batch,
        size=recipe.size,
        prompts=PROMPTS,
        sampling=SAMPLING,
        guidance=GUIDANCE,
    )
    file.write_text(card, encoding="utf-8")


def make_lora_sheet(painter: LoraPipeline) -> Image.Image:
    """Returns a sheet with a column for each prompt and a row for each weight."""
    prompts = [f"{prompt}, {TRIGGER}" for prompt in SHEET]
    rows: list[Row] = []
    for weight in SHEET_WEIGHTS:
        pictures = painter.paint(prompts, weight, SHEET_SEED, seed_step=0)
        rows.append((f"{weight:g}" if weight else "without", [Image.fromarray(picture) for picture in pictures]))
    return draw_contact_sheet(rows, SHEET, SIDE)


if __name__ == "__main__":
    main()
