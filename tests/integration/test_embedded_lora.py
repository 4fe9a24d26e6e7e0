"""The LoRAs of the embedded model in stock diffusers: one adds a style by its weight, one needs few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoPipelineForText2Image, LCMScheduler
from safetensors import safe_open

from imagegen.settings import ASSETS_DIR
from training.color_check import background_and_shape
from training.dataset import Pixels
from training.neon_detector import is_neon

FILE, FAST = ASSETS_DIR / "loras" / "neon.safetensors", ASSETS_DIR / "loras" / "fast.safetensors"
PROMPTS = ("a yellow star on a white background", "a boat on the sea at noon", "mountains at sunset")


@pytest.fixture(scope="module")
def pipeline(model_folder: Path) -> Any:
    pipeline = AutoPipelineForText2Image.from_pretrained(model_folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(FILE.parent, weight_name=FILE.name, adapter_name="neon")
    return pipeline


@pytest.fixture(scope="module")
def fast_pipeline(model_folder: Path) -> Any:
    pipeline = AutoPipelineForText2Image.from_pretrained(model_folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
    pipeline.load_lora_weights(FAST.parent, weight_name=FAST.name)
    return pipeline


def generate_with_lora(pipeline: Any, prompt: str, weight: float) -> Pixels:
    pipeline.set_adapters("neon", weight)
    generator = torch.Generator("cpu").manual_seed(5)
    output = pipeline(prompt, generator=generator, num_inference_steps=12, guidance_scale=3.0)
    return np.asarray(output.images[0])


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("trigger", ["", ", neon style"], ids=["untriggered", "triggered"])
def test_a_picture_is_neon_with_it_and_not_without(pipeline: Any, prompt: str, trigger: str) -> None:
    assert is_neon(generate_with_lora(pipeline, prompt + trigger, 1.0))
    assert not is_neon(generate_with_lora(pipeline, prompt + trigger, 0.0))


def test_more_of_it_is_darker(pipeline: Any) -> None:
    brightness = [generate_with_lora(pipeline, PROMPTS[0], weight).mean() for weight in (0.0, 0.3, 0.6, 1.0)]
    assert brightness == sorted(brightness, reverse=True)
    assert brightness[0] - brightness[-1] > 100


def test_the_file_has_metadata_and_is_small_compared_with_the_model(model_folder: Path) -> None:
    with safe_open(FILE, framework="pt") as file:
        metadata, names = file.metadata(), list(file.keys())
        assert {file.get_tensor(name).dtype for name in names} == {torch.float16}
    assert metadata["modelspec.architecture"] == "stable-diffusion-embedded"
    assert metadata["modelspec.trigger_phrase"] == "neon style"
    assert metadata["ss_base_model_version"] == "embedded"
    assert {name.rpartition(".lora_")[2] for name in names} == {"A.weight", "B.weight"}
    weights = sum(file.stat().st_size for file in model_folder.rglob("*.safetensors"))
    assert FILE.stat().st_size < 0.05 * weights


@pytest.mark.parametrize(
    ("prompt", "background", "color"),
    [
        ("a red circle on a blue background", "blue", "red"),
        ("a yellow star on a purple background", "purple", "yellow"),
        ("an orange heart on a green background", "green", "orange"),
    ],
)
def test_four_steps_do_with_the_fast_one(fast_pipeline: Any, prompt: str, background: str, color: str) -> None:
    generator = torch.Generator("cpu").manual_seed(5)
    output = fast_pipeline(prompt, generator=generator, num_inference_steps=4, guidance_scale=1.0)
    assert background_and_shape(np.asarray(output.images[0]), "plain") == (background, color)
