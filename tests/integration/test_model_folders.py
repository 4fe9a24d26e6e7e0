"""Folders in diffusers format: each tensor of their networks is used, or the model is refused by its name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from imagegen.engine.models.loading import load_pipeline
from imagegen.errors import ModelLoadFailed
from imagegen.schema.models import ModelSource
from tests.hub.tiny import TINY

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    TINY["tiny-sd15"](folder)
    return folder


def change(whole: Path, target: Path, file: str, change_weights: Callable[[dict[str, Tensor]], object]) -> ModelSource:
    """Copies a model, and changes the tensors of a file."""
    shutil.copytree(whole, target)
    weights = load_file(target / file)
    change_weights(weights)
    save_file(weights, target / file, {"format": "pt"})
    return ModelSource(id="mine", name="mine", pipeline="StableDiffusionPipeline", path=target)


@pytest.mark.parametrize(
    ("file", "part", "name"),
    [(UNET, "unet", "up_blocks.4.resnets.0.norm1.weight"), (VAE, "vae", "decoder.conv_in.weight_scale")],
)
def test_a_tensor_without_a_place_is_named(whole: Path, tmp_path: Path, file: str, part: str, name: str) -> None:
    source = change(whole, tmp_path / "mine", file, lambda weights: weights.update({name: torch.ones(4)}))
    with pytest.raises(ModelLoadFailed, match=f"its tensor {name} has no place in its {part}"):
        load_pipeline(source, torch.float32)


def test_a_missing_tensor_is_named(whole: Path, tmp_path: Path) -> None:
    source = change(whole, tmp_path / "mine", UNET, lambda weights: weights.pop("conv_out.bias"))
    with pytest.raises(ModelLoadFailed, match=r"its unet has no tensor conv_out\.bias"):
        load_pipeline(source, torch.float32)


def test_a_weight_of_another_shape_is_no_message_of_a_library(whole: Path, tmp_path: Path) -> None:
    source = change(whole, tmp_path / "mine", UNET, lambda weights: weights.update({"conv_out.bias": torch.ones(5)}))
    with pytest.raises(ModelLoadFailed) as failed:
        load_pipeline(source, torch.float32)
    problem = "its files do not fit its configuration; the log says why"
    assert str(failed.value) == f"The model mine cannot be loaded: {problem}"


def test_old_names_of_attention_are_known(whole: Path, tmp_path: Path) -> None:
    def rename(weights: dict[str, Tensor]) -> None:
        for name in [name for name in weights if ".attentions." in name]:
            new = name
            for today, before in OLD_NAMES.items():
                new = new.replace(f".{today}.", f".{before}.")
            weights[new] = weights.pop(name)

    source = change(whole, tmp_path / "mine", VAE, rename)
    vae: Any = load_pipeline(source, torch.float32).vae
    expected = load_file(whole / VAE)
    found = vae.state_dict()
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)
