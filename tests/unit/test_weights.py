"""Weight files: their headers, and whether they are complete."""

import json
from pathlib import Path

import pytest

from imagegen.library.weight_files import (
    BrokenWeights,
    find_missing_part,
    list_weight_files,
    measure_weight_bytes,
    read_components,
    read_header,
)
from tests.unit.model_files import (
    truncate_file,
    write_json,
    write_lora,
    write_tensors,
    write_transformer_model,
    write_unet_model,
)


def test_a_header_has_shapes_and_metadata(tmp_path: Path) -> None:
    found = read_header(write_tensors(tmp_path / "file", {"one": (2, 3), "two": ()}, {"format": "pt", "title": "Köln"}))
    assert found.shapes == {"one": (2, 3), "two": ()}
    assert found.metadata == {"format": "pt", "title": "Köln"}


def test_without_a_word_of_the_author_there_is_none(tmp_path: Path) -> None:
    assert read_header(write_tensors(tmp_path / "file", {"one": (1,)})).metadata == {}


@pytest.mark.parametrize("kept", [0, 4, 8, 20, -1])
def test_a_file_that_was_cut_short_is_not_whole(tmp_path: Path, kept: int) -> None:
    file = write_tensors(tmp_path / "file", {"one": (2, 3)})
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(BrokenWeights):
        read_header(file)


def test_a_file_with_something_behind_it_is_not_whole(tmp_path: Path) -> None:
    file = write_tensors(tmp_path / "file", {"one": (2, 3)})
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(BrokenWeights):
        read_header(file)


@pytest.mark.parametrize(
    "content",
    [
        b"<!doctype html><title>Not found</title>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
        b"PK\x03\x04 a pickle in a zip",
        b"\xff" * 64,
        (2).to_bytes(8, "little") + b"[]",
        (4).to_bytes(8, "little") + b"null",
        (3).to_bytes(8, "little") + b"\xff\xfe{",
        (12).to_bytes(8, "little") + b'{"one": "1"}',
        (24).to_bytes(8, "little") + b'{"one": {"shape": null}}',
    ],
)
def test_a_file_that_is_not_safetensors_raises_the_same_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(BrokenWeights):
        read_header(tmp_path / "file")


def test_a_missing_file_raises_the_same_error(tmp_path: Path) -> None:
    with pytest.raises(BrokenWeights):
        read_header(tmp_path / "nowhere")
    with pytest.raises(BrokenWeights):
        read_header(tmp_path)


def with_metadata(file: Path, metadata: object) -> Path:
    header = json.dumps({"__metadata__": metadata}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    return file


@pytest.mark.parametrize("metadata", [{"title": 5}, {"title": None}, ["title"], "title", 5])
def test_what_an_author_wrote_is_text_or_the_file_is_broken(tmp_path: Path, metadata: object) -> None:
    file = with_metadata(tmp_path / "file", metadata)
    try:
        header = read_header(file).metadata
    except BrokenWeights:
        return
    assert all(isinstance(value, str) for value in dict(header).values())


@pytest.mark.parametrize("part", ["scheduler", "tokenizer", "text_encoder", "unet", "vae"])
def test_a_folder_without_one_of_its_parts_lacks_it(tmp_path: Path, part: str) -> None:
    folder = write_unet_model(tmp_path)
    assert find_missing_part(folder) is None
    (folder / part).rename(folder / "elsewhere")
    assert find_missing_part(folder) == part


@pytest.mark.parametrize("part", ["text_encoder", "transformer", "vae"])
def test_a_part_without_configuration_or_weights_lacks_them(tmp_path: Path, part: str) -> None:
    folder = write_transformer_model(tmp_path)
    (folder / part / "config.json").rename(tmp_path / "config.json")
    assert find_missing_part(folder) == f"{part}/config.json"
    (tmp_path / "config.json").rename(folder / part / "config.json")
    truncate_file(folder / part / "model.safetensors")
    assert find_missing_part(folder) == f"{part}/model.safetensors"
    (folder / part / "model.safetensors").rename(folder / part / "model.bin")
    assert find_missing_part(folder) == f"{part}/*.safetensors"


def test_of_weights_in_several_files_each_must_be_there(tmp_path: Path) -> None:
    folder = write_unet_model(tmp_path)
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    (folder / "unet" / "model.safetensors").rename(folder / "unet" / names[0])
    index = {"weight_map": {"one": names[0], "two": names[1]}}
    write_json(folder / "unet" / "model.safetensors.index.json", index)
    assert find_missing_part(folder) == f"unet/{names[1]}"
    write_tensors(folder / "unet" / names[1], {"two": (4,)})
    assert find_missing_part(folder) is None
    truncate_file(folder / "unet" / names[0])
    assert find_missing_part(folder) == f"unet/{names[0]}"


def test_parts_that_the_studio_does_without_may_be_missing(tmp_path: Path) -> None:
    folder = write_unet_model(tmp_path)
    assert {"safety_checker", "feature_extractor"}.isdisjoint(read_components(folder))
    assert find_missing_part(folder) is None


def test_the_size_of_a_model_is_that_of_what_is_loaded(tmp_path: Path) -> None:
    folder = write_unet_model(tmp_path)
    size = measure_weight_bytes(folder)
    assert size == 3 * (folder / "unet" / "model.safetensors").stat().st_size
    write_tensors(folder / "safety_checker" / "model.safetensors", {"weight": (100,)})
    write_tensors(folder / "everything.safetensors", {"weight": (100,)})
    assert measure_weight_bytes(folder) == size


def test_weights_are_found_in_any_folder_of_a_repository(tmp_path: Path) -> None:
    write_lora(tmp_path / "b.safetensors")
    write_lora(tmp_path / "style" / "a.safetensors")
    (tmp_path / "README.md").write_text("A style.")
    assert list_weight_files(tmp_path) == ["b.safetensors", "style/a.safetensors"]
