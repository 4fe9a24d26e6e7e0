"""Checksums of weights: each file is read once, and again when it has changed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from imagegen.library.checksums import Checksums
from imagegen.schema.models import ModelSource
from tests.doubles import make_library


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"weights")
    return file


def compute(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_source(path: Path, pipeline: str = "StableDiffusionPipeline") -> ModelSource:
    return ModelSource(id="m", name="m", pipeline=pipeline, path=path)


def rewrite(file: Path, content: bytes) -> None:
    """Changes the content of a file, but neither its size nor its time of change."""
    status = file.stat()
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_file_is_read_once(weights: Path) -> None:
    checksums = Checksums()
    assert checksums.find(weights) is None
    assert checksums.compute(weights) == compute(b"weights")
    rewrite(weights, b"WEIGHTS")
    assert checksums.compute(weights) == checksums.find(weights) == compute(b"weights")


def test_a_file_that_has_changed_is_read_again(weights: Path) -> None:
    checksums = Checksums()
    checksums.compute(weights)
    weights.write_bytes(b"other weights")
    assert checksums.find(weights) is None
    assert checksums.compute(weights) == compute(b"other weights")


def test_a_restart_reads_no_file_again(weights: Path, tmp_path: Path) -> None:
    store = tmp_path / "data" / "checksums.json"
    Checksums(store).compute(weights)
    rewrite(weights, b"WEIGHTS")
    assert Checksums(store).find(weights) == compute(b"weights")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '{"a": [1, 2]}', "null"])
def test_a_damaged_store_is_begun_anew(weights: Path, tmp_path: Path, content: str) -> None:
    store = tmp_path / "checksums.json"
    store.write_text(content)
    assert Checksums(store).compute(weights) == compute(b"weights")
    assert list(json.loads(store.read_text())) == [str(weights)]


def test_a_store_that_cannot_be_written_is_no_error(weights: Path) -> None:
    assert Checksums(weights / "checksums.json").compute(weights) == compute(b"weights")


def test_a_checkpoint_has_the_checksum_of_its_file(weights: Path) -> None:
    checksums, source = Checksums(), make_source(weights)
    assert checksums.find_model_sha256(source) is None
    assert checksums.compute_model_sha256(source) == checksums.find_model_sha256(source) == compute(b"weights")


def test_a_folder_has_the_checksum_of_its_denoiser(tmp_path: Path) -> None:
    for name in ("unet", "vae"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "diffusion_pytorch_model.safetensors").write_bytes(name.encode())
    (tmp_path / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"half")
    assert Checksums().compute_model_sha256(make_source(tmp_path)) == compute(b"unet")


def test_a_folder_with_shards_has_the_checksum_of_their_checksums(tmp_path: Path) -> None:
    (tmp_path / "transformer").mkdir()
    for number in (2, 1):
        file = tmp_path / "transformer" / f"diffusion_pytorch_model-0000{number}-of-00002.safetensors"
        file.write_bytes(f"shard {number}".encode())
    expected = compute((compute(b"shard 1") + compute(b"shard 2")).encode())
    assert Checksums().compute_model_sha256(make_source(tmp_path, "FluxPipeline")) == expected


def test_weights_that_are_gone_have_no_checksum(tmp_path: Path) -> None:
    for source in (make_source(tmp_path / "gone"), make_source(tmp_path)):
        assert Checksums().compute_model_sha256(source) is None
        assert Checksums().find_model_sha256(source) is None


def test_the_library_keeps_checksums_in_the_data_folder(tmp_path: Path) -> None:
    library = make_library(tmp_path)
    source = library.models.get("embedded").source
    assert source is not None
    sha256 = library.checksums.compute_model_sha256(source)
    assert sha256 == compute((source.path / "unet" / "diffusion_pytorch_model.safetensors").read_bytes())
    assert make_library(tmp_path).checksums.find_model_sha256(source) == sha256
    assert (tmp_path / "data" / "checksums.json").exists()
