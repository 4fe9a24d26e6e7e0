"""The tiny models are what the tests of the library take them for: complete, quick, and not indifferent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoPipelineForImage2Image,
    AutoPipelineForText2Image,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image
from safetensors.torch import load_file

from tests.hub.loras import diffusers_lora, kohya_lora, textual_inversion
from tests.hub.single_file import single_file
from tests.hub.tiny import TINY

Folder = Callable[[str], Path]
CLASSES = {
    "tiny-sd15": "StableDiffusionPipeline",
    "tiny-sd21": "StableDiffusionPipeline",
    "tiny-sdxl": "StableDiffusionXLPipeline",
    "tiny-sd3": "StableDiffusion3Pipeline",
    "tiny-flux-dev": "FluxPipeline",
    "tiny-flux-schnell": "FluxPipeline",
    "tiny-flux2-klein": "Flux2KleinPipeline",
    "tiny-z-image": "ZImagePipeline",
    "tiny-qwen-image": "QwenImagePipeline",
    "tiny-sana": "SanaPipeline",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Where a model is. It is built the first time."""
    root = tmp_path_factory.mktemp("tiny")

    def built(name: str) -> Path:
        if not (root / name).exists():
            TINY[name](root / name)
        return root / name

    return built


def loaded(folder: Path) -> Any:
    return quiet(AutoPipelineForText2Image.from_pretrained(folder, use_safetensors=True, local_files_only=True))


def quiet(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def drawn(pipeline: Any, prompt: str = "a red circle", seed: int = 1, **options: Any) -> np.ndarray[Any, Any]:
    """(64, 64, 3), from 0 to 255."""
    usual = {"width": 64, "height": 64, "num_inference_steps": 2} | options
    image = pipeline(prompt=prompt, generator=torch.Generator().manual_seed(seed), **usual).images[0]
    return np.asarray(image, dtype=np.float32)


def difference(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    """Of a pixel on average, from 0 to 255."""
    return float(abs(first - second).mean())


def test_every_model_is_tested() -> None:
    assert CLASSES.keys() == TINY.keys()


@pytest.mark.parametrize("name", TINY)
def test_a_picture_depends_on_prompt_and_seed(folder: Folder, name: str) -> None:
    pipeline = loaded(folder(name))
    assert type(pipeline).__name__ == CLASSES[name]
    picture = drawn(pipeline)
    assert picture.shape == (64, 64, 3)
    assert picture.std() > 10
    assert difference(picture, drawn(pipeline)) == 0
    assert difference(picture, drawn(pipeline, seed=2)) > 5
    assert difference(picture, drawn(pipeline, prompt="a blue house in the snow")) > 5


@pytest.mark.parametrize("name", TINY)
def test_every_step_has_finite_latents(folder: Folder, name: str) -> None:
    latents = []

    def watch(_: Any, __: int, ___: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        latents.append(tensors["latents"])
        return tensors

    drawn(loaded(folder(name)), callback_on_step_end=watch)
    assert len(latents) >= 2
    assert all(tensor.isfinite().all() for tensor in latents)


@pytest.mark.parametrize("name", [name for name in TINY if name not in ("tiny-flux2-klein", "tiny-sana")])
def test_a_picture_starts_from_another(folder: Folder, name: str) -> None:
    pipeline = quiet(AutoPipelineForImage2Image.from_pipe(loaded(folder(name))))
    size = {"width": 64, "height": 64} if "stable" not in name else {}
    first, second = (
        np.asarray(pipeline(prompt="a cat", image=start, num_inference_steps=4, strength=0.5, **size).images[0])
        for start in (Image.new("RGB", (64, 64), colour) for colour in ("red", "navy"))
    )
    assert first.shape == second.shape == (64, 64, 3)


def test_a_flux2_model_takes_pictures_to_look_at(folder: Folder) -> None:
    pipeline = loaded(folder("tiny-flux2-klein"))
    red, blue = (drawn(pipeline, image=Image.new("RGB", (64, 64), colour)) for colour in ("red", "navy"))
    assert difference(red, blue) > 1


@pytest.mark.parametrize("name", TINY)
def test_a_lora_shows_and_goes(folder: Folder, name: str, tmp_path: Path) -> None:
    diffusers_lora(folder(name), tmp_path / "lora.safetensors")
    shows_and_goes(loaded(folder(name)), tmp_path / "lora.safetensors")


@pytest.mark.parametrize("name", ["tiny-sd15", "tiny-sdxl", "tiny-flux-dev"])
def test_a_lora_of_kohyas_shows_and_goes(folder: Folder, name: str, tmp_path: Path) -> None:
    kohya_lora(folder(name), tmp_path / "lora.safetensors")
    pipeline = loaded(folder(name))
    shows_and_goes(pipeline, tmp_path / "lora.safetensors")


def shows_and_goes(pipeline: Any, lora: Path) -> None:
    plain = drawn(pipeline)
    pipeline.load_lora_weights(lora, adapter_name="lora")
    full = drawn(pipeline)
    pipeline.set_adapters(["lora"], [0.5])
    half = drawn(pipeline)
    pipeline.unload_lora_weights()
    assert difference(plain, full) > 3
    assert difference(plain, half) > 1
    assert difference(half, full) > 1
    assert difference(plain, drawn(pipeline)) < 1


def test_an_embedding_is_a_word(folder: Folder, tmp_path: Path) -> None:
    textual_inversion(tmp_path / "cat.safetensors", {"emb_params": 768})
    pipeline = loaded(folder("tiny-sd15"))
    plain = drawn(pipeline, prompt="studio-cat")
    pipeline.load_textual_inversion(tmp_path / "cat.safetensors", token="studio-cat")
    assert difference(plain, drawn(pipeline, prompt="studio-cat")) > 5


def test_an_embedding_of_xl_is_a_word_of_both_encoders(folder: Folder, tmp_path: Path) -> None:
    textual_inversion(tmp_path / "cat.safetensors", {"clip_l": 24, "clip_g": 40})
    pipeline, weights = loaded(folder("tiny-sdxl")), load_file(tmp_path / "cat.safetensors")
    plain = drawn(pipeline, prompt="studio-cat")
    for key, number in {"clip_l": "", "clip_g": "_2"}.items():
        encoder, tokenizer = (getattr(pipeline, f"{part}{number}") for part in ("text_encoder", "tokenizer"))
        pipeline.load_textual_inversion(weights[key], token="studio-cat", text_encoder=encoder, tokenizer=tokenizer)
    assert difference(plain, drawn(pipeline, prompt="studio-cat")) > 1


@pytest.mark.parametrize(
    ("name", "pipeline"), [("tiny-sd15", StableDiffusionPipeline), ("tiny-sdxl", StableDiffusionXLPipeline)]
)
def test_one_file_holds_the_same_model(folder: Folder, name: str, pipeline: Any, tmp_path: Path) -> None:
    single_file(folder(name), tmp_path / "model.safetensors")
    one = quiet(
        pipeline.from_single_file(str(tmp_path / "model.safetensors"), config=str(folder(name)), local_files_only=True)
    )
    assert difference(drawn(one), drawn(loaded(folder(name)))) == 0
