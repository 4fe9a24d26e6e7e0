"""Weights in several files: on disk, with the index that names them, and downloaded from the Hub."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from imagegen.errors import UnusableModel
from imagegen.jobs.sources import read_stamps
from imagegen.library.controlnets import ControlNetIndex
from imagegen.library.deletion import delete_download
from imagegen.library.downloads import Download
from imagegen.library.hub import HubClient
from imagegen.library.snapshots import HubFiles, Snapshots
from tests.doubles import make_library
from tests.hub.server import StandInHub
from tests.unit.model_files import ATTENTION, write_controlnet, write_json, write_tensors

NAME = "diffusion_pytorch_model"
TENSORS = {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3), f"{ATTENTION}.weight": (64, 128)}
REPOSITORY = "someone/edges"


@pytest.fixture
def index(tmp_path: Path) -> ControlNetIndex:
    return ControlNetIndex("controlnet", (tmp_path / "controlnets",), Snapshots(tmp_path / "hub"))


def write_shards(folder: Path, variant: str = "") -> list[Path]:
    """Writes a ControlNet with each tensor in a file of its own. Returns the index, and the files."""
    shards = [folder / f"{NAME}{variant}-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for file, (name, shape) in zip(shards, TENSORS.items(), strict=True):
        write_tensors(file, {name: shape})
    write_json(folder / "config.json", {"_class_name": "ControlNetModel", "cross_attention_dim": 128})
    weight_map = {name: file.name for name, file in zip(TENSORS, shards, strict=True)}
    return [write_json(folder / f"{NAME}.safetensors.index{variant}.json", {"weight_map": weight_map}), *shards]


@pytest.mark.parametrize("variant", ["", ".fp16"])
def test_shards_are_one_network(index: ControlNetIndex, tmp_path: Path, variant: str) -> None:
    path, *shards = write_shards(tmp_path / "controlnets" / "edges", variant)
    assert index.list_ids() == ["edges"]
    found = index.get("edges")
    assert (found.path, found.info.architecture) == (path, "Stable Diffusion of width 128")
    assert found.info.size == sum(shard.stat().st_size for shard in shards)
    checksums = "".join(hashlib.sha256(shard.read_bytes()).hexdigest() for shard in shards)
    source = index.get_source("edges")
    assert source.sha256 == hashlib.sha256(checksums.encode()).hexdigest()
    before = read_stamps([source])
    shards[1].write_bytes(shards[1].read_bytes() + b"0")
    assert read_stamps([source]) != before, "a job notices that a shard has changed"


def test_half_precision_is_preferred_whatever_the_number_of_files(index: ControlNetIndex, tmp_path: Path) -> None:
    half, *_ = write_shards(tmp_path / "controlnets" / "edges", ".fp16")
    write_shards(tmp_path / "controlnets" / "edges")
    assert index.get("edges").path == half
    whole = write_controlnet(tmp_path / "controlnets" / "edges", name=f"{NAME}.fp16.safetensors")
    assert index.get("edges").path == whole
    assert index.list_ids() == ["edges"]


@pytest.mark.parametrize("change", ["missing", "short", "other"])
def test_a_missing_or_damaged_shard_is_named(index: ControlNetIndex, tmp_path: Path, change: str) -> None:
    _, _, shard = write_shards(tmp_path / "controlnets" / "edges")
    if change == "missing":
        shard.unlink()
    elif change == "short":
        shard.write_bytes(shard.read_bytes()[:-1])
    else:
        write_tensors(shard, {f"{ATTENTION}.weight": (64, 128), "more": (1,)})
    assert index.list_ids() == []
    with pytest.raises(UnusableModel, match=f"its file {NAME}-00002-of-00002.safetensors is missing or damaged"):
        index.get("edges")


@pytest.mark.parametrize("content", ["{}", "[]", "no JSON", json.dumps({"weight_map": {"a": "../a.safetensors"}})])
def test_an_index_that_is_none_is_named(index: ControlNetIndex, tmp_path: Path, content: str) -> None:
    path, *_ = write_shards(tmp_path / "controlnets" / "edges")
    path.write_text(content)
    with pytest.raises(UnusableModel, match="index"):
        index.get("edges")


def test_shards_without_their_index_are_refused(index: ControlNetIndex, tmp_path: Path) -> None:
    path, *_ = write_shards(tmp_path / "controlnets" / "edges")
    path.unlink()
    with pytest.raises(UnusableModel, match="the index of these is missing"):
        index.get("edges")


def test_a_shard_may_not_be_a_link_to_another_place(index: ControlNetIndex, tmp_path: Path) -> None:
    _, shard, _ = write_shards(tmp_path / "controlnets" / "edges")
    shard.rename(tmp_path / "elsewhere.safetensors")
    shard.symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(UnusableModel, match="is a link to a place outside"):
        index.get("edges")


@pytest.mark.parametrize(
    ("folder", "reference"),
    [("", REPOSITORY), ("canny/", f"{REPOSITORY}/canny/{NAME}.fp16.safetensors")],
    ids=["at the top", "in a folder"],
)
def test_all_shards_are_downloaded_found_and_deleted(tmp_path: Path, folder: str, reference: str) -> None:
    root, library = tmp_path / "repositories", make_library(tmp_path)
    write_shards(root / REPOSITORY / folder, ".fp16")
    write_shards(root / REPOSITORY / "other")
    resource = library.get_resource("controlnet")
    hub_files = library.adapters["controlnet"].get_hub_files(reference)
    assert hub_files is not None
    with StandInHub(root) as hub:
        plan = HubClient(hub.url).plan_network(reference, hub_files, "controlnet")
        Download(plan, library.snapshots, library.checksums).run()
    names = ["config.json", f"{NAME}.safetensors.index.fp16.json"]
    names += [f"{NAME}.fp16-0000{number}-of-00002.safetensors" for number in (1, 2)]
    assert {file.path for file in plan.files} == {folder + name for name in names}
    assert resource.is_on_disk(reference)
    assert library.adapters["controlnet"].get(reference).path.name == names[1]
    delete_download(library.snapshots, "controlnet", reference, hub_files)
    assert not resource.is_on_disk(reference)
    assert not list((tmp_path / "models").rglob("*.safetensors"))


def test_a_repository_without_one_of_its_shards_is_refused_before_a_download(tmp_path: Path) -> None:
    _, shard, _ = write_shards(tmp_path / REPOSITORY)
    shard.unlink()
    with (
        StandInHub(tmp_path) as hub,
        pytest.raises(UnusableModel, match=f"the repository has no file {NAME}-00001-of-00002.safetensors"),
    ):
        HubClient(hub.url).plan_network(REPOSITORY, HubFiles(REPOSITORY), "controlnet")
