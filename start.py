"""Installs the packages of the studio into .venv, and runs it there. Needs only Python 3.11 or 3.12.

python start.py                  starts the studio on http://127.0.0.1:7860
python start.py --port 8000      passes settings to the studio
python start.py --dry-run        shows the commands that would run
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
UV = "uv==0.13.9"
TORCH_INDEX = "https://download.pytorch.org/whl/{build}"
REACH_TIMEOUT_SECONDS = 10
OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Environment:
    """The virtual environment of the studio, with its markers: empty files that say what has been done."""

    folder: Path
    requirements: Path
    constraints: Path

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def is_made(self) -> bool:
        return (self.folder / "made").exists()

    @property
    def is_installed(self) -> bool:
        """Whether the packages have been installed since the files that list them were changed."""
        marker = self.folder / "run"
        files = (self.requirements, self.constraints)
        return marker.exists() and all(file.stat().st_mtime <= marker.stat().st_mtime for file in files)

    def mark(self, name: str) -> None:
        (self.folder / name).touch()


def main() -> None:
    options, settings = parse_arguments(sys.argv[1:])
    environment = Environment(ROOT / ".venv", ROOT / "requirements.txt", ROOT / "constraints.txt")
    run_studio = [str(environment.python), str(ROOT / "app.py"), *settings]
    if not environment.is_made:
        check_python()
        run([sys.executable, "-m", "venv", str(environment.folder)], options.dry_run)
        if not options.dry_run:
            environment.mark("made")
    if not environment.is_installed:
        for command in build_install_commands(environment, options.torch or choose_torch(sys.platform)):
            run(command, options.dry_run)
        if not options.dry_run:
            environment.mark("run")
    if options.dry_run:
        show([] if options.install_only else run_studio)
    elif not options.install_only:
        replace_process(run_studio)


def parse_arguments(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Returns the options of this program, and the settings of the studio."""
    parser = argparse.ArgumentParser(
        prog="start.py",
        description="Installs the packages of the studio into .venv, and runs it there.",
        epilog="All other flags are settings of the studio, such as --port 8000. README.md lists them.",
        allow_abbrev=False,
    )
    parser.add_argument("--torch", metavar="BUILD", help="the build of torch: cpu, cu126, …, pypi, or auto (by uv)")
    parser.add_argument("--install-only", action="store_true", help="install the packages, and do not start the studio")
    parser.add_argument("--dry-run", action="store_true", help="show the commands, and run none of them")
    return parser.parse_known_args(arguments)


def check_python() -> None:
    if sys.version_info < OLDEST_PYTHON:
        sys.exit("The studio needs Python 3.11 or 3.12: python3.12 start.py, or make PYTHON=python3.12 …")


def choose_torch(platform: str) -> str:
    """Returns the build of torch for this machine: "cpu" without an NVIDIA GPU, where its index can be reached.

    PyPI's build includes CUDA on Linux, Metal on macOS, and neither on Windows, where uv looks for the right one.
    """
    if platform == "darwin":
        return "pypi"
    if has_nvidia_gpu():
        return "auto" if platform == "win32" else "pypi"
    return "cpu" if can_reach(TORCH_INDEX.format(build="cpu")) else "pypi"


def has_nvidia_gpu() -> bool:
    """Asks the driver's program; without a driver there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    listed = subprocess.run([program, "-L"], capture_output=True, text=True, check=False)
    return listed.returncode == 0 and "GPU 0" in listed.stdout


def can_reach(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/torch/", timeout=REACH_TIMEOUT_SECONDS):
            return True
    except OSError:
        sys.stdout.write(f"{url} cannot be reached; the build of torch is the one that pip finds elsewhere.\n")
        return False


def build_install_commands(environment: Environment, torch: str) -> list[list[str]]:
    """Returns the commands that install the packages, with the given build of torch."""
    python = str(environment.python)
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check"]
    packages = ["--requirement", str(environment.requirements), "--constraint", str(environment.constraints)]
    if torch == "pypi":
        return [[*pip, *packages]]
    if torch == "auto":
        uv = [python, "-m", "uv", "pip", "install", "--python", python, "--torch-backend=auto"]
        return [[*pip, "--quiet", UV], [*uv, *packages]]
    # A build such as 2.13.0+cpu counts as newer than 2.13.0, so that pip takes it; for the other packages it asks PyPI.
    pin = next(line for line in environment.requirements.read_text().splitlines() if line.startswith("torch=="))
    return [[*pip, pin, "--extra-index-url", TORCH_INDEX.format(build=torch)], [*pip, *packages]]


def run(command: list[str], is_dry_run: bool) -> None:
    """Ends this program if the command fails."""
    show(command)
    if not is_dry_run and subprocess.run(command, check=False).returncode != 0:
        sys.exit(f"This command failed: {shlex.join(command)}")


def show(command: list[str]) -> None:
    if command:
        sys.stdout.write(f"{shlex.join(command)}\n")
        sys.stdout.flush()


def replace_process(command: list[str]) -> None:
    """Runs the command in place of this program, so that signals reach it."""
    if os.name != "nt":
        os.execv(command[0], command)
    # Windows cannot replace a process. Ctrl+C reaches both; the studio handles it, and this program waits.
    signal.signal(signal.SIGINT, lambda *_: None)
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
