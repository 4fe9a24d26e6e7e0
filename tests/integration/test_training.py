"""The embedded model can be made again: every stage runs, goes on where it was stopped, and ends in a pipeline."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoPipelineForText2Image, LCMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTokenizer

from training.beginnings import begin_denoiser, begin_text_encoder
from training.denoiser import new_denoiser
from training.fast import train_fast
from training.judge import train_judge
from training.loop import Course, learn
from training.lora import train_lora
from training.machine import Machine, OutOfTimeError
from training.model import train_model
from training.recipe import RECIPES, Recipe
from training.score import score
from training.text_encoder import new_text_encoder

LESSONS = 60


def taught(state: Path, stop: int | None = None) -> float:
    """The slope of a line after all lessons, or with an interruption before one of them."""
    torch.manual_seed(0)
    line = nn.Linear(1, 1)

    def lesson(step: int) -> tuple[Tensor, dict[str, float]]:
        if step == stop:
            raise OutOfTimeError
        x = torch.randn(8, 1)
        return (line(x) - 3 * x).square().mean(), {}

    learn(Course("line", LESSONS, 0.1), [line], lesson, state, Machine())
    return line.weight.item()


def test_lessons_go_on_where_they_were_stopped(tmp_path: Path) -> None:
    with pytest.raises(OutOfTimeError):
        taught(tmp_path / "stopped.pt", LESSONS // 2)
    assert taught(tmp_path / "stopped.pt") == taught(tmp_path / "whole.pt")


def test_lessons_stop_when_the_time_is_up(tmp_path: Path) -> None:
    line = nn.Linear(1, 1)
    with pytest.raises(OutOfTimeError):
        learn(Course("line", 5, 0.1), [line], lambda _: (line.weight.sum(), {}), tmp_path / "s.pt", Machine(until=0))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return replace(RECIPES["toy"], work=tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine(device=torch.device("cpu"), workers=2)


@pytest.fixture(scope="module")
def grown(recipe: Recipe, machine: Machine) -> Path:
    """A toy of a model that went through every stage."""
    train_model(recipe, recipe.work / "model", machine)
    return recipe.work / "model"


def painted(pipeline: Any, **options: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(0)
    output = pipeline("a red circle", generator=generator, **{"num_inference_steps": 4, **options})
    return np.asarray(output.images[0])


def test_what_was_trained_is_a_stock_pipeline(grown: Path, recipe: Recipe) -> None:
    pipeline = AutoPipelineForText2Image.from_pretrained(grown, dtype=torch.float32)
    assert painted(pipeline).shape == (recipe.size, recipe.size, 3)
    assert len(json.loads((grown / "preview.json").read_text(encoding="utf-8"))["matrix"]) == 4


def test_it_is_judged_by_a_judge_that_learned_from_drawings(grown: Path, recipe: Recipe, machine: Machine) -> None:
    judge = train_judge(recipe, machine, recipe.work / "judge.safetensors")
    tallies = score(grown, judge, 24, recipe.size)
    assert tallies["background by pixels"].drawn > 0.9
    assert {"style", "scene", "pair: each color on its thing"} <= set(tallies)
    assert all(
        f"| {name} | {tally.right:.1%} |" in (grown / "README.md").read_text() for name, tally in tallies.items()
    )
    assert (grown / "contact-sheet.png").stat().st_size > 1000


@pytest.mark.parametrize("train", [train_lora, train_fast], ids=["neon", "fast"])
def test_its_loras_change_what_it_paints(grown: Path, recipe: Recipe, machine: Machine, train: Any) -> None:
    file = recipe.work / f"{train.__name__}.safetensors"
    train(recipe, grown, file, machine)
    pipeline = AutoPipelineForText2Image.from_pretrained(grown, dtype=torch.float32)
    pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
    before = painted(pipeline, guidance_scale=1.0)
    pipeline.load_lora_weights(file.parent, weight_name=file.name)
    assert not np.array_equal(before, painted(pipeline, guidance_scale=1.0))


def test_a_larger_model_begins_with_what_a_smaller_one_knows(grown: Path, recipe: Recipe) -> None:
    before = UNet2DConditionModel.from_pretrained(grown / "unet")
    larger = new_denoiser((32, *recipe.channels), recipe.attentive, 16, recipe.text_width)
    begin_denoiser(larger, grown)
    for name in ("down_blocks.3.resnets.0.conv2.weight", "mid_block.resnets.0.conv1.weight"):
        known = name.replace("blocks.3", "blocks.2") if name.startswith("down") else name
        wanted = before.state_dict()[known]
        assert torch.equal(larger.state_dict()[name], wanted)


def test_words_that_are_known_keep_their_meaning(grown: Path, recipe: Recipe) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(grown / "tokenizer")
    encoder = new_text_encoder(tokenizer, recipe.text_width)
    begin_text_encoder(encoder, tokenizer, grown)
    known = AutoPipelineForText2Image.from_pretrained(grown, dtype=torch.float32).text_encoder
    ids = tokenizer("a red circle", return_tensors="pt").input_ids
    with torch.inference_mode():
        assert torch.equal(encoder.eval()(ids).last_hidden_state, known(ids).last_hidden_state)
