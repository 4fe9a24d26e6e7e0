"""Upscalers: which files are recognized, and which are refused with what reason."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from imagegen.errors import UnknownModel, UnusableModel
from imagegen.library.snapshots import Snapshots
from imagegen.library.upscalers import KIND, UpscalerIndex
from tests.hub.upscalers import (
    Tensors,
    make_compact,
    make_esrgan,
    to_numbered_layout,
    to_trunk_layout,
    write_upscaler,
)

COMPACT, ESRGAN = make_compact().state_dict(), make_esrgan().state_dict()
FILES: dict[str, tuple[Tensors, str, int]] = {
    "compact": (COMPACT, "Compact", 4),
    "compact-x2": (make_compact(scale=2).state_dict(), "Compact", 2),
    "compact-x1": (make_compact(scale=1).state_dict(), "Compact", 1),
    "esrgan": (ESRGAN, "ESRGAN", 4),
    "esrgan-trunk": (to_trunk_layout(ESRGAN), "ESRGAN", 4),
    "esrgan-numbered": (to_numbered_layout(ESRGAN), "ESRGAN", 4),
    "esrgan-x2": (make_esrgan(doublings=1).state_dict(), "ESRGAN", 2),
    "esrgan-x1": (make_esrgan(doublings=0).state_dict(), "ESRGAN", 1),
    "esrgan-x8": (make_esrgan(doublings=3).state_dict(), "ESRGAN", 8),
    "esrgan-x2-unshuffled": (make_esrgan(unshuffle=2).state_dict(), "ESRGAN", 2),
    "esrgan-x1-unshuffled": (make_esrgan(unshuffle=4).state_dict(), "ESRGAN", 1),
    "half": ({name: tensor.half() for name, tensor in ESRGAN.items()}, "ESRGAN", 4),
}
REFUSED: dict[str, tuple[Tensors, str]] = {
    "one tensor too many": (ESRGAN | {"extra.weight": torch.ones(1)}, "its tensor extra.weight has no place"),
    "one tensor too few": (
        {name: tensor for name, tensor in ESRGAN.items() if name != "conv_hr.bias"},
        "it has no tensor conv_hr.bias",
    ),
    "another shape": (ESRGAN | {"conv_hr.bias": torch.ones(3)}, "its tensor conv_hr.bias is 3, and no network"),
    "plus": (ESRGAN | {"body.0.rdb1.conv1x1.weight": torch.ones(1)}, "its tensor body.0.rdb1.conv1x1.weight"),
    "channels": (ESRGAN | {"conv_first.weight": torch.ones(8, 5, 3, 3)}, "its first layer takes 5 channels"),
    "activation": (
        {name: tensor for name, tensor in COMPACT.items() if tensor.shape != (8,) or name.endswith("bias")},
        "it is a Compact network without PReLU",
    ),
    "something else": ({"unet.weight": torch.ones(2, 2)}, "its tensors are neither those of an ESRGAN"),
    "smaller": (make_esrgan(doublings=0, unshuffle=2).state_dict(), "it makes pictures smaller"),
}


def make_index(folder: Path) -> UpscalerIndex:
    return UpscalerIndex(KIND, (folder,), Snapshots(folder / "hub"))


@pytest.mark.parametrize("name", FILES)
def test_networks_are_recognized_in_each_layout(tmp_path: Path, name: str) -> None:
    tensors, architecture, scale = FILES[name]
    write_upscaler(tmp_path / f"{name}.safetensors", tensors)
    info = make_index(tmp_path).get(name).info
    assert (info.id, info.architecture, info.scale) == (name, architecture, scale)
    assert info.size == (tmp_path / f"{name}.safetensors").stat().st_size and not info.deletable


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_of_which_not_every_tensor_is_used_is_refused(tmp_path: Path, name: str) -> None:
    tensors, problem = REFUSED[name]
    write_upscaler(tmp_path / "mine.safetensors", tensors)
    with pytest.raises(UnusableModel, match=problem) as refused:
        make_index(tmp_path).get("mine")
    assert refused.value.field == "upscaler" and "mine cannot be used" in str(refused.value)


@pytest.mark.parametrize("reference", ["4x.pth", "4x", "owner/name/4x.pth"])
def test_a_pickle_is_refused_by_name(tmp_path: Path, reference: str) -> None:
    (tmp_path / "4x.pth").write_bytes(b"\x80\x04")
    with pytest.raises(UnusableModel, match="it is a pickle, which may run code"):
        make_index(tmp_path).get(reference)


def test_a_broken_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(UnusableModel, match="it is not a complete safetensors file"):
        make_index(tmp_path).get("broken")


def test_an_unknown_name_is_answered_with_those_that_are_there(tmp_path: Path) -> None:
    write_upscaler(tmp_path / "mine.safetensors", COMPACT)
    index = make_index(tmp_path)
    with pytest.raises(UnknownModel, match="It can be Lanczos, Bicubic, Nearest, mine"):
        index.get("yours")
    with pytest.raises(UnknownModel):
        index.get("0" * 300)
    assert [each.info.id for each in index.list_available()] == ["Lanczos", "Bicubic", "Nearest", "mine"]


def test_a_filter_needs_no_file(tmp_path: Path) -> None:
    source = make_index(tmp_path).get_source("Lanczos")
    assert (source.id, source.path, source.sha256, source.scale) == ("Lanczos", None, None, None)
