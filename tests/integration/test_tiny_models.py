"""The tiny models are as other tests assume: complete, fast, and sensitive to prompt and seed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoPipelineForText2Image
from PIL import Image

from tests.hub.loras import diffusers_lora
from tests.hub.tiny import TINY

Folder = Callable[[str], Path]
CLASSES = {
    "tiny-sd15": "StableDiffusionPipeline",
    "tiny-sd21": "StableDiffusionPipeline",
    "tiny-sdxl": "StableDiffusionXLPipeline",
    "tiny-sd3": "StableDiffusion3Pipeline",
    "tiny-flux-dev": "FluxPipeline",
    "tiny-flux-schnell": "FluxPipeline",
    "tiny-flux-kontext": "FluxKontextPipeline",
    "tiny-flux2-klein": "Flux2KleinPipeline",
    "tiny-z-image": "ZImagePipeline",
    "tiny-qwen-image": "QwenImagePipeline",
    "tiny-sana": "SanaPipeline",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Returns a model's folder. It is built at first use."""
    root = tmp_path_factory.mktemp("tiny")

    def build_model(name: str) -> Path:
        if not (root / name).exists():
            TINY[name](root / name)
        return root / name

    return build_model


def load_tiny_pipeline(folder: Path) -> Any:
    pipeline = AutoPipelineForText2Image.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def generate_tiny_image(
    pipeline: Any, prompt: str = "a red circle", seed: int = 1, **options: Any
) -> np.ndarray[Any, Any]:
    """Returns a picture of shape (64, 64, 3), from 0 to 255."""
    usual = {"width": 64, "height": 64, "num_inference_steps": 2} | options
    if "max_area" in inspect.signature(pipeline.__call__).parameters:
        usual["max_area"] = 64 * 64
    image = pipeline(prompt=prompt, generator=torch.Generator().manual_seed(seed), **usual).images[0]
    return np.asarray(image, dtype=np.float32)


def difference(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    """Returns the mean difference of a pixel, from 0 to 255."""
    return float(abs(first - second).mean())


def test_every_model_is_tested() -> None:
    assert CLASSES.keys() == TINY.keys()


@pytest.mark.parametrize("name", TINY)
def test_a_picture_depends_on_prompt_and_seed(folder: Folder, name: str) -> None:
    pipeline = load_tiny_pipeline(folder(name))
    assert type(pipeline).__name__ == CLASSES[name]
    picture = generate_tiny_image(pipeline)
    assert picture.shape == (64, 64, 3)
    assert picture.std() > 10
    assert difference(picture, generate_tiny_image(pipeline)) == 0
    assert difference(picture, generate_tiny_image(pipeline, seed=2)) > 5
    assert difference(picture, generate_tiny_image(pipeline, prompt="a blue house in the snow")) > 5


def test_a_flux2_model_takes_pictures_to_look_at(folder: Folder) -> None:
    pipeline = load_tiny_pipeline(folder("tiny-flux2-klein"))
    red, blue = (generate_tiny_image(pipeline, image=Image.new("RGB", (64, 64), colour)) for colour in ("red", "navy"))
    assert difference(red, blue) > 1


@pytest.mark.parametrize("name", ["tiny-sd21", "tiny-flux-schnell", "tiny-flux2-klein", "tiny-qwen-image"])
def test_a_lora_shows_and_goes(folder: Folder, name: str, tmp_path: Path) -> None:
    diffusers_lora(folder(name), tmp_path / "lora.safetensors")
    check_lora_applies_and_unloads(load_tiny_pipeline(folder(name)), tmp_path / "lora.safetensors")


def check_lora_applies_and_unloads(pipeline: Any, lora: Path) -> None:
    plain = generate_tiny_image(pipeline)
    pipeline.load_lora_weights(lora, adapter_name="lora")
    full = generate_tiny_image(pipeline)
    pipeline.set_adapters(["lora"], [0.5])
    half = generate_tiny_image(pipeline)
    pipeline.unload_lora_weights()
    assert difference(plain, full) > 3
    assert difference(plain, half) > 1
    assert difference(half, full) > 1
    assert difference(plain, generate_tiny_image(pipeline)) < 1
