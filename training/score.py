"""How well the model follows prompts that it never saw: by the judge, and for colours by pixels."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoPipelineForText2Image
from PIL import Image

from training.captions import caption
from training.card import write_card
from training.colors import background_and_shape
from training.dataset import Pixels, drawn
from training.drawing import Picture, ScenePicture, ShapePicture
from training.drawing.vocabulary import EXTRAS, PAINTED
from training.judge import Judge, verdicts
from training.labels import CLASSES, NEEDS_COLOR, answers

BATCH = 16
STEPS, GUIDANCE = 20, 4.0


@dataclass(frozen=True)
class Tally:
    """How often something was right; `drawn` is the same question asked of drawn pictures."""

    count: int
    right: float
    drawn: float
    chance: float


@dataclass(frozen=True)
class Trial:
    """One prompt: the picture in words, and what it must show when drawn."""

    picture: Picture
    prompt: str
    reference: Pixels


def trials(count: int, size: int) -> list[Trial]:
    """Prompts that say everything that their picture shows. Their seeds are far from those of training."""
    chosen: list[Trial] = []
    seed = 0
    while len(chosen) < count:
        picture, reference = drawn(seed, size)
        text = caption(picture, random.Random(f"prompt-{seed}"))
        if not text.silent & {"color", "background", "time", "scene"}:
            chosen.append(Trial(picture, text.text, reference))
        seed += 1
    return chosen


@torch.inference_mode()
def generated(model: Path, prompts: list[str]) -> list[Image.Image]:
    pipeline = AutoPipelineForText2Image.from_pretrained(model, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    images: list[Image.Image] = []
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        generators = [torch.Generator("cpu").manual_seed(start + i) for i in range(len(batch))]
        output = pipeline(batch, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generators)
        images += output.images
    return images


def score(model: Path, judge: Judge, count: int, size: int) -> dict[str, Tally]:
    """Judges the model, and writes scores.json, contact-sheet.png and the model card beside it."""
    asked = trials(count, size)
    images = generated(model, [trial.prompt for trial in asked])
    made = np.stack([np.asarray(image) for image in images])
    tallies = compare(asked, judge, made)
    for name, tally in tallies.items():
        print(f"{name:24} {tally.right:6.1%} of {tally.count:4}  drawn {tally.drawn:6.1%}  chance {tally.chance:5.1%}")
    figures = {name: vars(tally) for name, tally in tallies.items()}
    (model / "scores.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    contact_sheet(images[:48]).save(model / "contact-sheet.png")
    write_card(model, tallies, [trial.prompt for trial in asked[:48]])
    return tallies


def compare(asked: list[Trial], judge: Judge, made: Pixels) -> dict[str, Tally]:
    references = np.stack([trial.reference for trial in asked])
    right: defaultdict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for trial, seen, seen_drawn, pixels in zip(
        asked, verdicts(judge, made), verdicts(judge, references), made, strict=True
    ):
        for name, answer in answers(trial.picture).items():
            if trial.picture.style != "line drawing" or name not in NEEDS_COLOR:
                question = f"{name} color" if name in PAINTED else name
                right[question].append((seen[name] == answer, seen_drawn[name] == answer))
        if isinstance(trial.picture, ShapePicture) and trial.picture.style != "line drawing":
            wanted = (trial.picture.background, trial.picture.color)
            both = [background_and_shape(p, trial.picture.style) for p in (pixels, trial.reference)]
            for i, name in enumerate(("background by pixels", "color by pixels")):
                right[name].append((both[0][i] == wanted[i], both[1][i] == wanted[i]))
        if isinstance(trial.picture, ScenePicture):
            for extra in EXTRAS:
                wants = extra in trial.picture.extras
                name = f"{extra} when asked" if wants else f"no {extra} when not asked"
                right[name].append(tuple((extra in s["extras"]) == wants for s in (seen, seen_drawn)))  # type: ignore[arg-type]
    return {name: tally(name, answers) for name, answers in sorted(right.items())}


def tally(name: str, right: list[tuple[bool, bool]]) -> Tally:
    made, drawn_right = np.array(right).mean(0)
    classes = CLASSES.get(name.removesuffix(" by pixels").removesuffix(" color"), ("yes", "no"))
    return Tally(len(right), float(made), float(drawn_right), 1 / len(classes))


def contact_sheet(images: list[Image.Image], columns: int = 8) -> Image.Image:
    width, height = images[0].size
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for i, image in enumerate(images):
        sheet.paste(image, (i % columns * width, i // columns * height))
    return sheet
