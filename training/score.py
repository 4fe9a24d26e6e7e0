"""Scores how well the model follows prompts that are not in its training set, with the judge and by pixels."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from diffusers import AutoPipelineForText2Image
from PIL import Image

from training.captions import caption
from training.card import write_model_card
from training.color_check import background_and_shape, colors_of_pair
from training.dataset import Pixels, draw_example
from training.drawing.vocabulary import COLORLESS, EXTRAS, SHAPES, Backdrop, Picture
from training.judge import Judge, classify_pictures
from training.labels import CLASSES, SLOTS, answers, extras, list_invisible_attributes
from training.machine import best_device

BATCH = 16
# The catalogue's defaults for this model.
STEPS, GUIDANCE = 20, 3.0
SAMPLING = f"{STEPS} steps of DPM++ 2M, guidance {GUIDANCE:g}"
ON_SHEET, SHEET_SIDE = 48, 160
PAIR = "pair: each color on its thing"
# Prompts that leave one of these open are not used.
NEEDED = frozenset({"background", "scene", "time", "weather"})

JudgeAnswer = Mapping[str, str | frozenset[str]]


@dataclass(frozen=True)
class Tally:
    """The share of right answers for one question, also for drawn pictures and for an earlier model."""

    count: int
    right: float
    drawn: float
    chance: float
    before: float | None = None


@dataclass(frozen=True)
class Trial:
    """A prompt, its picture as a description and drawn, and the attributes that the prompt leaves open."""

    picture: Picture
    prompt: str
    silent: frozenset[str]
    reference: Pixels


def make_trials(count: int, size: int) -> list[Trial]:
    """Returns prompts whose seeds are not used in training."""
    chosen: list[Trial] = []
    seed = 0
    while len(chosen) < count:
        picture, reference = draw_example(seed, size)
        text = caption(picture, random.Random(f"prompt-{seed}"))
        if not text.silent & NEEDED:
            chosen.append(Trial(picture, text.text, text.silent, reference))
        seed += 1
    return chosen


@torch.inference_mode()
def generate_images(model: Path, prompts: list[str]) -> list[Image.Image]:
    pipeline = AutoPipelineForText2Image.from_pretrained(model, dtype=torch.float32).to(best_device())
    pipeline.set_progress_bar_config(disable=True)
    images: list[Image.Image] = []
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        generators = [torch.Generator("cpu").manual_seed(start + i) for i in range(len(batch))]
        output = pipeline(batch, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generators)
        images += output.images
    return images


def score(model: Path, judge: Judge, count: int, size: int, before: Path | None = None) -> dict[str, Tally]:
    """Scores the model, and writes scores.json, contact-sheet.png and the model card to its folder.

    `before` is an earlier model to score with the same prompts.
    """
    trials = make_trials(count, size)
    prompts = [trial.prompt for trial in trials]
    images = generate_images(model, prompts)
    tallies = compare(trials, judge, images, generate_images(before, prompts) if before else None)
    for name, tally in tallies.items():
        print(f"{name:32} {tally.right:6.1%} of {tally.count:4}  drawn {tally.drawn:6.1%}  chance {tally.chance:5.1%}")
    figures = {name: vars(tally) for name, tally in tallies.items()}
    (model / "scores.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    make_score_sheet(images[:ON_SHEET]).save(model / "contact-sheet.png", optimize=True)
    write_model_card(model, tallies, prompts[:ON_SHEET], count, SAMPLING)
    return tallies


def compare(
    trials: list[Trial], judge: Judge, images: list[Image.Image], before: list[Image.Image] | None = None
) -> dict[str, Tally]:
    right = judge_pictures(trials, judge, np.stack([np.asarray(image) for image in images]))
    drawn_right = judge_pictures(trials, judge, np.stack([trial.reference for trial in trials]))
    right_before = judge_pictures(trials, judge, np.stack([np.asarray(image) for image in before])) if before else {}
    return {
        name: Tally(
            len(answers),
            fmean(answers),
            fmean(drawn_right[name]),
            chance(name),
            fmean(right_before[name]) if before else None,
        )
        for name, answers in sorted(right.items())
    }


def judge_pictures(trials: list[Trial], judge: Judge, pictures: Pixels) -> dict[str, list[bool]]:
    """Returns right or wrong for each question and each picture to which it applies."""
    right: defaultdict[str, list[bool]] = defaultdict(list)
    for trial, answer_by_judge, pixels in zip(trials, run_judge(judge, pictures), pictures, strict=True):
        for name, answer in (score_by_judge(trial, answer_by_judge) | score_by_pixels(trial, pixels)).items():
            right[name].append(answer)
    return right


def run_judge(judge: Judge, pictures: Pixels) -> list[dict[str, str | frozenset[str]]]:
    return [
        answer_by_judge
        for start in range(0, len(pictures), BATCH)
        for answer_by_judge in classify_pictures(judge, pictures[start : start + BATCH])
    ]


def score_by_judge(trial: Trial, answer_by_judge: JudgeAnswer) -> dict[str, bool]:
    """Returns right or wrong for each attribute that the prompt names and the picture can show."""
    expected = {
        name: answer
        for name, answer in answers(trial.picture).items()
        if name not in trial.silent and name not in list_invisible_attributes(trial.picture)
    }
    right = {question(name, trial.picture): answer_by_judge[name] == answer for name, answer in expected.items()}
    if len(trial.picture.things) == len(SLOTS) and all(f"{slot} color" in expected for slot in SLOTS):
        right[PAIR] = all(answer_by_judge[name] == expected[name] for slot in SLOTS for name in (slot, f"{slot} color"))
    if not isinstance(trial.picture.place, Backdrop):
        for extra in EXTRAS:
            wants = extra in extras(trial.picture)
            detected = answer_by_judge["extras"]
            name = f"{extra} when asked" if wants else f"no {extra} when not asked"
            right[name] = (extra in detected) == wants
    return right


def question(name: str, picture: Picture) -> str:
    """Returns the question for an attribute: shapes and figures, single or paired, on a backdrop or in a scene."""
    slot = name.removesuffix(" color")
    if slot not in SLOTS:
        return name
    thing = picture.things[SLOTS.index(slot)]
    what = "shape" if thing.kind in SHAPES else "figure"
    where = "" if isinstance(picture.place, Backdrop) else " in a scene"
    several = " of two" if len(picture.things) > 1 else ""
    return f"{what}{several}{where}" + (": color" if name != slot else "")


def score_by_pixels(trial: Trial, pixels: Pixels) -> dict[str, bool]:
    picture = trial.picture
    if not isinstance(picture.place, Backdrop) or picture.style in COLORLESS:
        return {}
    colors = tuple(thing.color for thing in picture.things)
    is_open = any(f"{slot} color" in trial.silent for slot in SLOTS)
    background, color = background_and_shape(pixels, picture.style)
    right = {"background by pixels": background == picture.place.color}
    if is_open:
        return right
    if len(colors) == 1:
        return right | {"color by pixels": (color,) == colors}
    return right | {"colors of two by pixels": colors_of_pair(pixels, picture.style, picture.layout) == colors}


def chance(name: str) -> float:
    """Returns the expected share of right answers from guessing."""
    colors, kinds = len(CLASSES["background"]), len(CLASSES["first"])
    if name == PAIR:
        return 1 / (colors * kinds) ** 2
    if name == "colors of two by pixels":
        return 1 / colors**2
    if name.endswith((": color", "by pixels")):
        return 1 / colors
    if name.split(maxsplit=1)[0] in ("shape", "figure"):
        return 1 / kinds
    return 1 / len(CLASSES.get(name, ("yes", "no")))


def make_score_sheet(images: list[Image.Image], columns: int = 8) -> Image.Image:
    side = min(SHEET_SIDE, images[0].width)
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * side, rows * side), "white")
    for i, image in enumerate(images):
        sheet.paste(image.resize((side, side), Image.Resampling.LANCZOS), (i % columns * side, i // columns * side))
    return sheet
