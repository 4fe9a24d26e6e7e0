"""One bad file in the models folder breaks only itself, and links that leave the folder are refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imagegen.errors import UnusableModel
from imagegen.library.library import Library
from imagegen.settings import ASSETS_DIR, Settings
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio

EMBEDDED = ASSETS_DIR / "models" / "embedded"
LORA = next((ASSETS_DIR / "loras").glob("*.safetensors"))
DEEP = "[" * 200_000
TENSOR = '{"lora_down.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'


def write_header(file: Path, header: str) -> None:
    content = header.encode()
    file.write_bytes(len(content).to_bytes(8, "little") + content + bytes(4))


def write_bad_files(folder: Path) -> None:
    loras = folder / "loras"
    loras.mkdir(parents=True)
    shutil.copy(LORA, loras / "good.safetensors")
    for number, header in enumerate([
        DEEP, '{"a":' * 100_000, '{"__metadata__": {"modelspec.title": "\\ud800"}, ' + TENSOR[1:] + "}",
        TENSOR.replace("[1]", '["x"]') + "}", TENSOR.replace("[0, 4]", '["0", "4"]') + "}", "[]", "7", '{"a": []}',
        TENSOR.replace("[0, 4]", "[]") + "}", TENSOR.replace("[1]", "[]") + "}", TENSOR.replace("[1]", "7") + "}",
        '{"__metadata__": {"ss_tag_frequency": "' + DEEP + '"}, ' + TENSOR[1:] + "}", '{"__metadata__": [1]}',
    ]):  # fmt: skip
        for target in (folder, loras):
            write_header(target / f"bad{number}.safetensors", header)
    for number, index in enumerate(
        [DEEP, "{", '{"_class_name": []}', '{"_class_name": "StableDiffusionPipeline"}', "7"]
    ):
        (folder / f"bad{number}").mkdir()
        (folder / f"bad{number}" / "model_index.json").write_text(index)
    for name in ("unet/config.json", "vae/config.json", "model_index.json"):
        copy = folder / f"broken-{name.replace('/', '-')}"
        shutil.copytree(EMBEDDED, copy)
        (copy / name).write_text(DEEP)
    (folder / "gone").symlink_to(folder / "nothing")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / os.fsdecode(b"\xff\xfe")).mkdir()
    (loras / "gone.safetensors").symlink_to(folder / "nothing")


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[InProcessStudio]:
    write_bad_files(tmp_path / "models")
    async with run_in_process_studio(tmp_path) as studio:
        yield studio


async def test_bad_files_break_no_list(studio: InProcessStudio) -> None:
    models = await studio.client_without_token.get("/v1/models/list")
    loras = await studio.client_without_token.get("/v1/loras/list")
    assert (models.status_code, loras.status_code) == (200, 200)
    assert "embedded" in {status["model"]["id"] for status in models.json()}
    assert "good" in {lora["id"] for lora in loras.json()}
    for path in ("/v1/models", "/sdapi/v1/sd-models", "/sdapi/v1/loras"):
        assert (await studio.client_without_token.get(path)).status_code == 200


async def test_a_bad_file_is_refused_with_a_reason(studio: InProcessStudio, tmp_path: Path) -> None:
    names = [path.name for path in (tmp_path / "models").glob("b*")]
    for name in names:
        answer = await studio.client_without_token.post("/v1/jobs", json={"prompt": "a", "model": name})
        assert answer.status_code in (400, 404), (name, answer.text)
        assert str(tmp_path) not in answer.text


def open_library(tmp_path: Path, **settings: object) -> Library:
    fields = {"models_dir": tmp_path / "models", "data_dir": tmp_path / "data"}
    return Library(Settings.model_validate(fields | settings), tmp_path / "hub")


def link_out(tmp_path: Path, place: str) -> None:
    """Puts a link to a model, to a part of it or to a LoRA outside of the models folder into it."""
    models, outside = tmp_path / "models", tmp_path / "outside"
    shutil.copytree(EMBEDDED, outside / "whole")
    shutil.copy(LORA, outside / "lora.safetensors")
    (models / "loras").mkdir(parents=True)
    match place:
        case "folder":
            (models / "linked").symlink_to(outside / "whole")
        case "part":
            shutil.copytree(EMBEDDED, models / "linked")
            shutil.rmtree(models / "linked" / "vae")
            (models / "linked" / "vae").symlink_to(outside / "whole" / "vae")
        case "file":
            shutil.copytree(EMBEDDED, models / "linked")
            (models / "linked" / "vae" / "config.json").unlink()
            (models / "linked" / "vae" / "config.json").symlink_to(outside / "whole" / "vae" / "config.json")
        case "lora":
            (models / "loras" / "linked.safetensors").symlink_to(outside / "lora.safetensors")


@pytest.mark.parametrize("place", ["folder", "part", "file"])
def test_a_model_with_a_link_out_of_the_folder_needs_a_setting(tmp_path: Path, place: str) -> None:
    link_out(tmp_path, place)
    strict, lenient = open_library(tmp_path).models, open_library(tmp_path, follow_links=True).models
    with pytest.raises(UnusableModel, match="follow_links"):
        strict.get("linked")
    assert "linked" not in {model.info.id for model in strict.list_available()}
    assert lenient.get("linked").source is not None


def test_a_lora_that_is_a_link_out_of_the_folder_needs_a_setting(tmp_path: Path) -> None:
    link_out(tmp_path, "lora")
    with pytest.raises(UnusableModel, match="follow_links"):
        open_library(tmp_path).adapters["lora"].get("linked")
    assert open_library(tmp_path, follow_links=True).adapters["lora"].get("linked").info.id == "linked"


def test_links_inside_of_the_folder_are_followed(tmp_path: Path) -> None:
    shutil.copytree(EMBEDDED, tmp_path / "models" / "real")
    (tmp_path / "models" / "linked").symlink_to("real")
    assert open_library(tmp_path).models.get("linked").source is not None


def test_a_catalogue_may_name_any_place(tmp_path: Path) -> None:
    shutil.copytree(EMBEDDED, tmp_path / "outside")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "link").symlink_to(tmp_path / "outside")
    entry = {"id": "mine", "name": "Mine", "path": "link", "pipeline": "StableDiffusionPipeline"}
    (tmp_path / "models" / "catalogue.json").write_text(json.dumps([entry]))
    assert open_library(tmp_path).models.get("mine").source is not None
