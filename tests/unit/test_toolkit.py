"""CUDA's headers, of a toolkit or of pip's packages."""

from pathlib import Path

import pytest

from imagegen.engine.toolkit import NEEDED, environment, includes, missing_header


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with neither."""
    for name in ("CUDA_HOME", "CUDA_PATH", "CPATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr("imagegen.engine.toolkit.USUAL", tmp_path / "none")
    monkeypatch.setattr("sys.path", [str(tmp_path / "site")])


def headers(include: Path, *names: str) -> Path:
    for name in names:
        (include / name).parent.mkdir(parents=True, exist_ok=True)
        (include / name).touch()
    return include


def test_without_any_the_first_is_missing() -> None:
    assert missing_header() == NEEDED[0]
    assert environment() == {}


def test_a_toolkit_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that has some headers in a folder of their own."""
    include = headers(tmp_path / "cuda" / "include", *NEEDED[:-1])
    headers(include / "cccl", NEEDED[-1])
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    headers(tmp_path / "site" / "nvidia" / "cu13" / "include", *NEEDED)
    assert missing_header() is None
    assert includes() == [include, include / "cccl"], "one of another version is left alone"
    assert environment()["CUDA_HOME"] == str(tmp_path / "cuda")


def test_packages_complete_each_other(tmp_path: Path) -> None:
    site = tmp_path / "site" / "nvidia"
    runtime = headers(site / "cuda_runtime" / "include", "cuda.h", "cuda_fp16.h")
    assert missing_header() == "crt/host_defines.h"
    compiler = headers(site / "cuda_nvcc" / "include", "crt/host_defines.h")
    library = headers(site / "cuda_cccl" / "include", "nv/target")
    assert missing_header() is None
    assert environment() == {"CUDA_HOME": str(runtime.parent), "CPATH": f"{library}:{compiler}:{runtime}"}
