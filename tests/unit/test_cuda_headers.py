"""CUDA's headers, from a toolkit or from pip's packages."""

from pathlib import Path

import pytest

from imagegen.engine.compile.cuda_headers import (
    REQUIRED_HEADERS,
    build_environment,
    find_missing_header,
    list_include_folders,
)


@pytest.fixture(autouse=True)
def without_cuda_headers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without both."""
    for name in ("CUDA_HOME", "CUDA_PATH", "CPATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr("imagegen.engine.compile.cuda_headers.DEFAULT_CUDA_HOME", tmp_path / "none")
    monkeypatch.setattr("sys.path", [str(tmp_path / "site")])


def write_headers(include: Path, *names: str) -> Path:
    for name in names:
        (include / name).parent.mkdir(parents=True, exist_ok=True)
        (include / name).touch()
    return include


def test_without_any_the_first_is_missing() -> None:
    assert find_missing_header() == REQUIRED_HEADERS[0]
    assert build_environment() == {}


def test_a_toolkit_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if a package has some headers in its own folder."""
    include = write_headers(tmp_path / "cuda" / "include", *REQUIRED_HEADERS[:-1])
    write_headers(include / "cccl", REQUIRED_HEADERS[-1])
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    write_headers(tmp_path / "site" / "nvidia" / "cu13" / "include", *REQUIRED_HEADERS)
    assert find_missing_header() is None
    assert list_include_folders() == [include, include / "cccl"], "one of another version is left alone"
    assert build_environment()["CUDA_HOME"] == str(tmp_path / "cuda")


def test_packages_complete_each_other(tmp_path: Path) -> None:
    site = tmp_path / "site" / "nvidia"
    runtime = write_headers(site / "cuda_runtime" / "include", "cuda.h", "cuda_fp16.h")
    assert find_missing_header() == "crt/host_defines.h"
    compiler = write_headers(site / "cuda_nvcc" / "include", "crt/host_defines.h")
    library = write_headers(site / "cuda_cccl" / "include", "nv/target")
    assert find_missing_header() is None
    assert build_environment() == {"CUDA_HOME": str(runtime.parent), "CPATH": f"{library}:{compiler}:{runtime}"}
