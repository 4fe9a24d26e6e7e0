"""`python start.py`, with the standard library alone: the environment, the packages, and the studio in it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import start
from imagegen.version import VERSION
from tests.unit.source_imports import ROOT, read_imports

TORCH = next(line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.startswith("torch=="))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what start.py and `app.py --version` need."""
    folder = tmp_path / "a checkout"
    (folder / "imagegen").mkdir(parents=True)
    for name in ("start.py", "app.py", "requirements.txt", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    for name in ("__init__.py", "version.py", "stop_signals.py"):
        shutil.copy(ROOT / "imagegen" / name, folder / "imagegen")
    return folder


def run_start(checkout: Path, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(checkout / "start.py"), *flags],
        cwd=checkout.parent,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def use_this_environment(checkout: Path) -> None:
    """Gives the checkout the packages of this process, installed just now."""
    environment = start.Environment(checkout / ".venv", checkout / "requirements.txt", checkout / "constraints.txt")
    environment.python.parent.mkdir(parents=True)
    environment.python.symlink_to(sys.executable)
    environment.mark("made")
    environment.mark("run")


def list_commands(torch: str) -> list[str]:
    environment = start.Environment(Path(".venv"), ROOT / "requirements.txt", ROOT / "constraints.txt")
    return [shlex.join(command) for command in start.build_install_commands(environment, torch)]


def test_it_imports_the_standard_library_alone() -> None:
    assert {name.partition(".")[0] for name in read_imports(ROOT / "start.py")} <= sys.stdlib_module_names


def test_the_packages_come_from_the_pinned_lists() -> None:
    (command,) = list_commands("pypi")
    assert command.endswith(f"--requirement {ROOT / 'requirements.txt'} --constraint {ROOT / 'constraints.txt'}")
    assert "-m pip install" in command


@pytest.mark.parametrize("build", ["cpu", "cu126"])
def test_another_build_of_torch_comes_from_its_own_index_and_all_else_does_not(build: str) -> None:
    torch, others = list_commands(build)
    assert torch.endswith(f"{TORCH} --extra-index-url https://download.pytorch.org/whl/{build}")
    assert "--requirement" in others and "download.pytorch.org" not in others


def test_uv_looks_for_the_build_if_it_is_asked_to() -> None:
    uv, others = list_commands("auto")
    assert uv.endswith(start.UV)
    assert "-m uv pip install" in others and "--torch-backend=auto" in others


@pytest.mark.parametrize(
    ("platform", "has_gpu", "is_reached", "build"),
    [
        ("linux", False, True, "cpu"),
        ("linux", False, False, "pypi"),
        ("linux", True, True, "pypi"),
        ("darwin", False, True, "pypi"),
        ("win32", False, True, "cpu"),
        ("win32", True, True, "auto"),
    ],
)
def test_the_build_of_torch_fits_the_machine(
    monkeypatch: pytest.MonkeyPatch, platform: str, has_gpu: bool, is_reached: bool, build: str
) -> None:
    monkeypatch.setattr(start, "has_nvidia_gpu", lambda: has_gpu)
    monkeypatch.setattr(start, "can_reach", lambda _: is_reached)
    assert start.choose_torch(platform) == build


@pytest.mark.parametrize(
    ("script", "found"),
    [("echo 'GPU 0: NVIDIA H200 (UUID: GPU-1)'", True), ("echo 'No devices found'", False), ("exit 9", False)],
)
def test_a_gpu_is_found_by_the_program_of_its_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, found: bool
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert start.has_nvidia_gpu() == found


def test_without_the_program_there_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not start.has_nvidia_gpu()


def test_a_dry_run_shows_all_commands_and_runs_none(checkout: Path) -> None:
    before = sorted(checkout.iterdir())
    shown = run_start(checkout, "--dry-run", "--torch", "pypi", "--port", "8000")
    assert (shown.returncode, shown.stderr) == (0, "")
    python = str(checkout / ".venv/bin/python")
    venv, install, studio = map(shlex.split, shown.stdout.splitlines())
    assert venv == [sys.executable, "-m", "venv", str(checkout / ".venv")]
    assert install[:4] == [python, "-m", "pip", "install"]
    assert studio == [python, str(checkout / "app.py"), "--port", "8000"]
    assert sorted(checkout.iterdir()) == before


def test_an_environment_with_its_packages_starts_the_studio_at_once(checkout: Path) -> None:
    use_this_environment(checkout)
    ended = run_start(checkout, "--version")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{VERSION}\n", "")


def test_a_changed_list_of_packages_is_installed(checkout: Path) -> None:
    use_this_environment(checkout)
    marker = checkout / ".venv" / "run"
    later = marker.stat().st_mtime + 10
    os.utime(checkout / "requirements.txt", (later, later))
    install, _ = run_start(checkout, "--dry-run", "--torch", "pypi").stdout.splitlines()
    assert " -m pip install " in install


def test_a_failed_command_ends_it_with_a_sentence(checkout: Path) -> None:
    use_this_environment(checkout)
    (checkout / ".venv" / "run").unlink()
    (checkout / "requirements.txt").write_text("no-such-package @ file:///no/such/package\n")
    ended = run_start(checkout, "--torch", "pypi", "--install-only")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("This command failed: ")
    assert "Traceback" not in ended.stderr
    assert not (checkout / ".venv" / "run").exists()


def test_make_run_and_the_tests_install_with_it() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert "\nrun:\n\texec $(START) $(ARGS)\n" in makefile
    assert "START = $(PYTHON) start.py" in makefile and "$(START) --install-only" in makefile
