"""The LoRAs that come with the embedded model, in stock diffusers: one brings a style, as strongly as it is asked to;
one does with few steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoPipelineForText2Image, LCMScheduler
from safetensors import safe_open

from imagegen.settings import ASSETS
from training.colors import background_and_shape
from training.dataset import Pixels
from training.neon_pixels import is_neon

FILE, FAST = ASSETS / "loras" / "neon.safetensors", ASSETS / "loras" / "fast.safetensors"
PROMPTS = ("a yellow star on a white background", "a boat on the sea at noon", "mountains at sunset")


@pytest.fixture(scope="module")
def pipeline(model_folder: Path) -> Any:
    pipeline = AutoPipelineForText2Image.from_pretrained(model_folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(FILE.parent, weight_name=FILE.name, adapter_name="neon")
    return pipeline


def painted(pipeline: Any, prompt: str, weight: float) -> Pixels:
    pipeline.set_adapters("neon", weight)
    generator = torch.Generator("cpu").manual_seed(5)
    output = pipeline(prompt, generator=generator, num_inference_steps=12, guidance_scale=3.0)
    return np.asarray(output.images[0])


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("trigger", ["", ", neon style"], ids=["untriggered", "triggered"])
def test_a_picture_is_neon_with_it_and_not_without(pipeline: Any, prompt: str, trigger: str) -> None:
    assert is_neon(painted(pipeline, prompt + trigger, 1.0))
    assert not is_neon(painted(pipeline, prompt + trigger, 0.0))


def test_more_of_it_is_darker(pipeline: Any) -> None:
    brightness = [painted(pipeline, PROMPTS[0], weight).mean() for weight in (0.0, 0.3, 0.6, 1.0)]
    assert brightness == sorted(brightness, reverse=True)
    assert brightness[0] - brightness[-1] > 100


def test_the_file_says_what_it_is_and_is_small_beside_the_model(model_folder: Path) -> None:
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
def test_four_steps_do_with_the_fast_one(model_folder: Path, prompt: str, background: str, color: str) -> None:
    pipeline: Any = AutoPipelineForText2Image.from_pretrained(model_folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
    pipeline.load_lora_weights(FAST.parent, weight_name=FAST.name)
    generator = torch.Generator("cpu").manual_seed(5)
    output = pipeline(prompt, generator=generator, num_inference_steps=4, guidance_scale=1.0)
    assert background_and_shape(np.asarray(output.images[0]), "plain") == (background, color)
