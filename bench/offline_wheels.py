"""`python -m bench.offline_wheels get VERSION [NAME ...]` downloads wheels for a machine without a package index.

The wheels go to bench/wheels: all REQUIRED_PACKAGES, or the named ones, in the versions of constraints.txt, for x86-64
Linux and that version of Python. On the other machine, `python -m bench.offline_wheels put FOLDER` unpacks those that
its Python does not have in that version, for PYTHONPATH. It does not change the machine's own packages. `get` needs
pip; `put` needs no package.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]
WHEELS = ROOT / "bench" / "wheels"
# The engine's imports and their dependencies, without torch and torch's own dependencies.
REQUIRED_PACKAGES = [
    "accelerate",
    "annotated-types",
    "anyio",
    "certifi",
    "charset-normalizer",
    "diffusers",
    "filelock",
    "fsspec",
    "greenlet",
    "h11",
    "httpcore2",
    "httpx2",
    "huggingface-hub",
    "idna",
    "numpy",
    "packaging",
    "peft",
    "pillow",
    "psutil",
    "pydantic",
    "pydantic-core",
    "pydantic-settings",
    "python-dotenv",
    "pyyaml",
    "regex",
    "requests",
    "safetensors",
    "tokenizers",
    "tqdm",
    "transformers",
    "truststore",
    "typing-extensions",
    "typing-inspection",
    "urllib3",
]
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 24, 17, 12)] + ["manylinux2014_x86_64"]


def download_wheels(python: str, names: list[str]) -> None:
    """Downloads the named packages, or REQUIRED_PACKAGES, to WHEELS, and deletes older wheels there."""
    options = ["--no-deps", "--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    options += [word for platform in PLATFORMS for word in ("--platform", platform)]
    options += ["--constraint", str(ROOT / "constraints.txt"), "--dest", str(WHEELS)]
    for wheel in WHEELS.glob("*.whl"):
        wheel.unlink()
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", *options, *(names or REQUIRED_PACKAGES)], check=True
    )
    size = sum(wheel.stat().st_size for wheel in WHEELS.glob("*.whl"))
    print(f"{len(list(WHEELS.glob('*.whl')))} wheels, {size / 1e6:.1f} MB")


def unpack_wheels(folder: Path) -> None:
    """Unpacks to a folder what this Python does not have in the wheel's version."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for wheel in filter(is_compatible, sorted(WHEELS.glob("*.whl"))):
        name, wheel_version, *_ = wheel.name.split("-")
        if (installed_version := find_installed_version(name)) != wheel_version:
            with ZipFile(wheel) as archive:
                archive.extractall(folder)
            print(f"{name} {wheel_version}, instead of {installed_version or 'none'}")


def is_compatible(wheel: Path) -> bool:
    """Returns whether this Python can use the wheel."""
    python, binary, _ = wheel.stem.split("-")[-3:]
    return binary in ("none", "abi3") or python == f"cp{sys.version_info.major}{sys.version_info.minor}"


def find_installed_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main() -> None:
    match sys.argv[1:]:
        case ["get", python, *names]:
            download_wheels(python, names)
        case ["put", folder]:
            unpack_wheels(Path(folder))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
