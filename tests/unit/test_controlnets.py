"""ControlNets on disk are recognized by their tensors, and are found as folders, as files and in the Hub's cache."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from imagegen.errors import NotOnDisk, UnknownModel, UnusableModel
from imagegen.library.controlnets import ControlNetIndex
from imagegen.library.snapshots import Snapshots
from imagegen.media.control_maps.preprocessors import PREPROCESSORS
from imagegen.schema.controls import Preprocessor
from tests.unit.model_files import ATTENTION, make_snapshot_folder, write_controlnet, write_json, write_tensors

# The types of xinsir/controlnet-union-sdxl-1.0, as its page numbers them.
UNET_TYPES = ("pose", "depth", "softedge", "canny", "normal", "segmentation", "tile")
ORIGINAL = {"control_model.input_hint_block.0.weight": (16, 3, 3, 3), f"control_model.{ATTENTION}.weight": (64, 768)}


@pytest.fixture
def index(tmp_path: Path) -> ControlNetIndex:
    (tmp_path / "controlnets").mkdir()
    return ControlNetIndex("controlnet", (tmp_path / "controlnets",), Snapshots(tmp_path / "hub"))


def test_the_names_of_preprocessors_are_those_of_the_table() -> None:
    assert get_args(Preprocessor) == tuple(PREPROCESSORS)


def test_a_folder_and_a_file_are_found_by_their_names(index: ControlNetIndex, tmp_path: Path) -> None:
    weights = write_controlnet(tmp_path / "controlnets" / "mine" / "edges")
    file = write_tensors(tmp_path / "controlnets" / "canny.safetensors", ORIGINAL)
    assert index.list_ids() == ["canny", "mine/edges"]
    assert (index.get("mine/edges").path, index.get("mine/edges").info.architecture) == (
        weights,
        "Stable Diffusion of width 128",
    )
    for reference in ("canny", "canny.safetensors"):
        assert (index.get(reference).path, index.get(reference).info.architecture) == (file, "Stable Diffusion 1")
    with pytest.raises(UnknownModel, match="canny, mine/edges"):
        index.get("mine")


def test_half_precision_is_preferred_in_a_folder(index: ControlNetIndex, tmp_path: Path) -> None:
    folder = tmp_path / "controlnets" / "edges"
    write_controlnet(folder)
    half = write_controlnet(folder, name="diffusion_pytorch_model.fp16.safetensors")
    assert index.list_ids() == ["edges"]
    assert index.get("edges").path == half


def test_a_repository_of_the_hub_has_its_own_name(index: ControlNetIndex, tmp_path: Path) -> None:
    folder = make_snapshot_folder(tmp_path / "hub", "someone/edges")
    weights = write_controlnet(folder)
    other = write_tensors(folder / "old" / "edges.safetensors", ORIGINAL)
    assert index.list_ids() == ["someone/edges", "someone/edges/old/edges.safetensors"]
    assert index.get("someone/edges").path == weights
    assert index.get("someone/edges/old/edges.safetensors").path == other
    with pytest.raises(NotOnDisk):
        index.get("someone/other")


@pytest.mark.parametrize(
    ("shapes", "problem"),
    [
        ({"lora.up.weight": (4, 4)}, "it contains no ControlNet"),
        ({"controlnet_x_embedder.weight": (4, 4), "transformer_blocks.0.img_mlp.net.2.bias": (4,)}, "Qwen-Image"),
        ({"double_blocks.0.img_mlp.0.bias": (4,), "input_hint_block.0.bias": (16,)}, "in another format"),
        ({"lora_controlnet": (0,)}, "Control-LoRA"),
        ({"control_model.input_hint_block.0.weight": (16, 3, 3, 3)}, "does not look at the prompt"),
    ],
    ids=str,
)
def test_another_network_is_refused_with_the_reason(
    index: ControlNetIndex, tmp_path: Path, shapes: dict[str, tuple[int, ...]], problem: str
) -> None:
    write_tensors(tmp_path / "controlnets" / "other.safetensors", shapes)
    assert index.list_ids() == []
    with pytest.raises(UnusableModel, match=problem):
        index.get("other")


@pytest.mark.parametrize(
    ("shapes", "architecture", "types", "modes"),
    [
        (ORIGINAL, "Stable Diffusion 1", (), 3),
        ({"task_embedding": (6, 320), f"{ATTENTION}.weight": (64, 2048)}, "Stable Diffusion XL", UNET_TYPES[:6], 3),
        ({"task_embedding": (8, 320), f"{ATTENTION}.weight": (64, 2048)}, "Stable Diffusion XL", UNET_TYPES, 3),
        ({"controlnet_x_embedder.weight": (4, 4)}, "FLUX.1", (), 1),
        (
            {"controlnet_x_embedder.weight": (4, 4), "controlnet_mode_embedder.weight": (10, 4)},
            "FLUX.1",
            ("canny", "tile", "depth", "blur", "pose", "gray", "low_quality"),
            1,
        ),
        ({"pos_embed_input.proj.weight": (4, 4, 2, 2)}, "Stable Diffusion 3", (), 1),
        ({"control_all_x_embedder.2-1.weight": (4, 64)}, "Z-Image", (), 1),
    ],
    ids=str,
)
def test_a_controlnet_is_recognized_by_its_tensors(
    index: ControlNetIndex,
    tmp_path: Path,
    shapes: dict[str, tuple[int, ...]],
    architecture: str,
    types: tuple[str, ...],
    modes: int,
) -> None:
    write_tensors(tmp_path / "controlnets" / "mine.safetensors", shapes)
    info = index.get("mine").info
    assert (info.architecture, info.control_types, len(info.control_modes)) == (architecture, types, modes)


def test_a_wrong_number_in_a_configuration_is_refused(index: ControlNetIndex, tmp_path: Path) -> None:
    write_controlnet(tmp_path / "controlnets" / "edges")
    write_json(tmp_path / "controlnets" / "edges" / "config.json", {"layers_per_block": 10**9})
    with pytest.raises(UnusableModel, match="config.json: layers_per_block"):
        index.get("edges")
