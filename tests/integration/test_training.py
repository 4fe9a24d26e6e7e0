"""Training the embedded model: every stage runs, resumes where it was stopped, and the result is a pipeline."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoPipelineForText2Image, ControlNetModel, LCMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTokenizer

from imagegen.engine.upscaling.upscaler_cache import read_network
from training.controlnet import start_controlnet, train_controlnet
from training.controlnet_card import score_controlnet
from training.denoiser import new_denoiser
from training.distillation import train_fast
from training.judge import train_judge
from training.loop import TrainingSchedule, run_training
from training.lora import train_lora
from training.machine import Machine, OutOfTimeError
from training.model import train_model
from training.recipe import RECIPES, Recipe
from training.score import score
from training.text_encoder import new_text_encoder, tokenize
from training.upscaler import train_upscaler
from training.upscaler_pictures import EMOJI_SIDE
from training.warm_start import warm_start_denoiser, warm_start_text_encoder

STEPS = 60


def run_toy_training(state: Path, stop: int | None = None) -> float:
    """Returns the slope of a line after all steps, or with an interruption before one of them."""
    torch.manual_seed(0)
    line = nn.Linear(1, 1)

    def compute_loss(step: int) -> tuple[Tensor, dict[str, float]]:
        if step == stop:
            raise OutOfTimeError
        x = torch.randn(8, 1)
        return (line(x) - 3 * x).square().mean(), {}

    run_training(TrainingSchedule("line", STEPS, 0.1), [line], compute_loss, state, Machine())
    return line.weight.item()


def test_lessons_go_on_where_they_were_stopped(tmp_path: Path) -> None:
    with pytest.raises(OutOfTimeError):
        run_toy_training(tmp_path / "stopped.pt", STEPS // 2)
    assert run_toy_training(tmp_path / "stopped.pt") == run_toy_training(tmp_path / "whole.pt")


def test_lessons_stop_when_the_time_is_up(tmp_path: Path) -> None:
    line = nn.Linear(1, 1)
    with pytest.raises(OutOfTimeError):
        run_training(
            TrainingSchedule("line", 5, 0.1),
            [line],
            lambda _: (line.weight.sum(), {}),
            tmp_path / "s.pt",
            Machine(until=0),
        )


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return replace(RECIPES["toy"], work=tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine(device=torch.device("cpu"), workers=2)


@pytest.fixture(scope="module")
def trained_toy_model(recipe: Recipe, machine: Machine) -> Path:
    """A toy model after all training stages."""
    train_model(recipe, recipe.work / "model", machine)
    return recipe.work / "model"


def generate_pixels(pipeline: Any, **options: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(0)
    output = pipeline("a red circle", generator=generator, **{"num_inference_steps": 4, **options})
    return np.asarray(output.images[0])


def test_what_was_trained_loads_as_a_diffusers_pipeline(trained_toy_model: Path, recipe: Recipe) -> None:
    pipeline = AutoPipelineForText2Image.from_pretrained(trained_toy_model, dtype=torch.float32)
    assert generate_pixels(pipeline).shape == (recipe.size, recipe.size, 3)
    assert len(json.loads((trained_toy_model / "preview.json").read_text(encoding="utf-8"))["matrix"]) == 4


def test_it_is_judged_by_a_judge_that_learned_from_drawings(
    trained_toy_model: Path, recipe: Recipe, machine: Machine
) -> None:
    judge = train_judge(recipe, machine, recipe.work / "judge.safetensors")
    tallies = score(trained_toy_model, judge, 24, recipe.size)
    assert tallies["background by pixels"].drawn > 0.9
    assert {"style", "scene", "pair: each color on its thing"} <= set(tallies)
    assert all(
        f"| {name} | {tally.right:.1%} |" in (trained_toy_model / "README.md").read_text()
        for name, tally in tallies.items()
    )
    assert (trained_toy_model / "contact-sheet.png").stat().st_size > 1000


@pytest.mark.parametrize("train", [train_lora, train_fast], ids=["neon", "fast"])
def test_its_loras_change_what_it_paints(trained_toy_model: Path, recipe: Recipe, machine: Machine, train: Any) -> None:
    file = recipe.work / f"{train.__name__}.safetensors"
    train(recipe, trained_toy_model, file, machine)
    pipeline = AutoPipelineForText2Image.from_pretrained(trained_toy_model, dtype=torch.float32)
    pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
    before = generate_pixels(pipeline, guidance_scale=1.0)
    pipeline.load_lora_weights(file.parent, weight_name=file.name)
    assert not np.array_equal(before, generate_pixels(pipeline, guidance_scale=1.0))


def test_a_controlnet_is_trained_and_scored(trained_toy_model: Path, recipe: Recipe, machine: Machine) -> None:
    folder = recipe.work / "edges"
    train_controlnet(recipe, trained_toy_model, folder, machine)
    controlnet, problems = ControlNetModel.from_pretrained(folder, output_loading_info=True)
    assert not any(problems.values())
    assert controlnet.controlnet_down_blocks[0].weight.abs().max() > 0
    scores = score_controlnet(recipe, trained_toy_model, folder, 2)
    card = (folder / "README.md").read_text(encoding="utf-8")
    for name, (_, drawn) in scores.items():
        assert f"| {name} | with | {drawn.precision:.1%} | {drawn.recall:.1%} | {drawn.f1:.1%} |" in card
    assert (folder / "contact-sheet.png").stat().st_size > 1000


def test_a_controlnet_begins_with_what_the_denoiser_computes(model_folder: Path) -> None:
    pipeline = AutoPipelineForText2Image.from_pretrained(model_folder, dtype=torch.float32)
    controlnet = start_controlnet(pipeline, maps=torch.rand(2, 3, 128, 128).round(), fit_steps=20)
    words = pipeline.text_encoder(tokenize(pipeline.tokenizer, ["a red circle"])).last_hidden_state
    latents, control_map = (
        torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1)),
        torch.zeros(1, 3, 128, 128),
    )
    outputs: dict[Any, Tensor] = {}
    for network, arguments in ((pipeline.unet, ()), (controlnet, (control_map,))):
        for block in network.down_blocks:
            block.register_forward_hook(lambda block, _, output: outputs.__setitem__(block, output[0]))
        with torch.inference_mode():
            added = network(latents, 400, words, *arguments, return_dict=False)
    for known, copied in zip(pipeline.unet.down_blocks, controlnet.down_blocks, strict=True):
        assert (outputs[copied] - outputs[known]).norm() < 0.2 * outputs[known].norm()
    # It adds nothing to the denoiser yet.
    assert all(residual.abs().max() == 0 for residual in (*added[0], added[1]))


def test_a_larger_model_begins_with_what_a_smaller_one_knows(trained_toy_model: Path, recipe: Recipe) -> None:
    before = UNet2DConditionModel.from_pretrained(trained_toy_model / "unet")
    larger = new_denoiser((32, *recipe.channels), recipe.attentive, 16, recipe.text_width)
    warm_start_denoiser(larger, trained_toy_model)
    for name in ("down_blocks.3.resnets.0.conv2.weight", "mid_block.resnets.0.conv1.weight"):
        known = name.replace("blocks.3", "blocks.2") if name.startswith("down") else name
        wanted = before.state_dict()[known]
        assert torch.equal(larger.state_dict()[name], wanted)


def test_words_of_both_vocabularies_keep_their_embedding(trained_toy_model: Path, recipe: Recipe) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(trained_toy_model / "tokenizer")
    encoder = new_text_encoder(tokenizer, recipe.text_width)
    warm_start_text_encoder(encoder, tokenizer, trained_toy_model)
    known = AutoPipelineForText2Image.from_pretrained(trained_toy_model, dtype=torch.float32).text_encoder
    ids = tokenizer("a red circle", return_tensors="pt").input_ids
    with torch.inference_mode():
        assert torch.equal(encoder.eval()(ids).last_hidden_state, known(ids).last_hidden_state)


def test_the_upscaler_is_trained_on_drawings_and_emoji(tmp_path: Path, model_folder: Path) -> None:
    toy = replace(RECIPES["toy"], work=tmp_path)
    # In place of those that npm fetches.
    emoji = np.random.default_rng(0).integers(0, 256, (24, EMOJI_SIDE, EMOJI_SIDE, 4), dtype=np.uint8)
    np.save(tmp_path / f"emoji-{toy.upscaler_emoji}-{EMOJI_SIDE}.npy", emoji)
    file = tmp_path / "upscaler.safetensors"
    train_upscaler(toy, model_folder, file, Machine(workers=1))
    architecture, network = read_network(file, torch.device("cpu"))
    assert (architecture.name, architecture.scale) == ("Compact", 4)
    assert network(torch.rand(1, 3, 8, 8)).shape == (1, 3, 32, 32)
