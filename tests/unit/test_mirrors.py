"""Downloads from a mirror of the Hub whose lists of files tell no sizes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagegen.errors import HubRequestFailed, UnknownModel
from imagegen.library.downloads import Download
from imagegen.library.hub import DownloadPlan, HubClient
from imagegen.library.library import Library
from imagegen.library.snapshots import HubFiles
from tests.doubles import make_library
from tests.hub.server import StandInHub
from tests.unit.model_files import write_lora, write_unet_model

MODEL, LORA = "studio/model", "studio/lora"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The repositories of the mirror."""
    write_unet_model(tmp_path / "repositories" / MODEL)
    write_lora(tmp_path / "repositories" / LORA / "style.safetensors")
    return tmp_path / "repositories"


@pytest.fixture
def mirror(root: Path) -> Iterator[StandInHub]:
    with StandInHub(root, lists_sizes=False) as hub:
        yield hub


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return make_library(tmp_path)


def plan_model(mirror: StandInHub) -> DownloadPlan:
    return HubClient(mirror.url).plan_model(MODEL, HubFiles(MODEL))


def run(library: Library, plan: DownloadPlan) -> Path:
    download = Download(plan, library.snapshots, library.checksums)
    download.check_limits(10**9)
    download.run()
    return download.folder


def list_sizes(folder: Path) -> dict[str, int]:
    return {file.relative_to(folder).as_posix(): file.stat().st_size for file in folder.rglob("*") if file.is_file()}


def test_the_mirror_is_asked_for_the_size_and_the_checksum_of_each_file(mirror: StandInHub, root: Path) -> None:
    plan = plan_model(mirror)
    assert {file.path: file.size for file in plan.files} == list_sizes(root / MODEL)
    checksums = {file.path: file.sha256 for file in plan.files if file.path.endswith(".safetensors")}
    assert len(checksums) == 3
    assert checksums == {path: hashlib.sha256((root / MODEL / path).read_bytes()).hexdigest() for path in checksums}


def test_a_download_has_all_bytes(mirror: StandInHub, library: Library, root: Path) -> None:
    folder = run(library, plan_model(mirror))
    assert list_sizes(folder) == list_sizes(root / MODEL)
    assert library.models.get(MODEL).source is not None


def test_a_folder_of_empty_files_is_not_on_disk_and_is_fetched_again(
    mirror: StandInHub, library: Library, root: Path
) -> None:
    plan = plan_model(mirror)
    folder = library.snapshots.get_repository_folder(MODEL) / "snapshots" / plan.commit
    for file in plan.files:
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / file.path).touch()
    with pytest.raises(UnknownModel):
        library.models.get(MODEL)
    assert list_sizes(run(library, plan)) == list_sizes(root / MODEL)
    (folder / "tokenizer" / "tokenizer_config.json").write_bytes(b"")
    assert not library.model_resource.is_on_disk(MODEL)


def test_an_empty_lora_is_not_on_disk_and_is_fetched_again(mirror: StandInHub, library: Library, root: Path) -> None:
    resource = library.get_resource("lora")
    plan = HubClient(mirror.url).plan_adapter(LORA, HubFiles(LORA), "lora")
    file = library.snapshots.get_repository_folder(LORA) / "snapshots" / plan.commit / "style.safetensors"
    file.parent.mkdir(parents=True)
    file.touch()
    assert not resource.is_on_disk(LORA)
    run(library, plan)
    assert file.read_bytes() == (root / LORA / "style.safetensors").read_bytes()
    assert resource.is_on_disk(LORA)


def test_a_mirror_that_tells_no_size_at_all_is_refused_by_the_file(mirror: StandInHub) -> None:
    mirror.add_fault("HEAD .*/style", times=None, status=302, headers={"Location": "http://localhost:9/style"})
    with pytest.raises(HubRequestFailed, match=r"the Hub does not tell the size of style\.safetensors"):
        HubClient(mirror.url).plan_adapter(LORA, HubFiles(LORA), "lora")
