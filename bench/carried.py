"""`python -m bench.carried get VERSION [NAME ...]`: downloads wheels for a machine that reaches no package index.

They come to bench/wheels: all packages of NEEDED, or those named, as constraints.txt pins them, for x86-64 Linux and
that version of Python. `python -m bench.carried put FOLDER`, there, unpacks those that this Python does not have in
their version, for PYTHONPATH; it leaves the machine's own packages as they are. Neither needs any package but pip, and
the latter not even that.
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
# What the engine imports, and what that imports, besides torch and what torch brings.
NEEDED = [
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


def get(python: str, names: list[str]) -> None:
    options = ["--no-deps", "--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    options += [word for platform in PLATFORMS for word in ("--platform", platform)]
    options += ["--constraint", str(ROOT / "constraints.txt"), "--dest", str(WHEELS)]
    for wheel in WHEELS.glob("*.whl"):
        wheel.unlink()
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *options, *(names or NEEDED)], check=True)
    size = sum(wheel.stat().st_size for wheel in WHEELS.glob("*.whl"))
    print(f"{len(list(WHEELS.glob('*.whl')))} wheels, {size / 1e6:.1f} MB")


def put(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for wheel in filter(fits, sorted(WHEELS.glob("*.whl"))):
        name, wanted, *_ = wheel.name.split("-")
        if (here := installed(name)) != wanted:
            with ZipFile(wheel) as packed:
                packed.extractall(folder)
            print(f"{name} {wanted}, where there was {here or 'none'}")


def fits(wheel: Path) -> bool:
    """Whether this Python can use it."""
    python, binary, _ = wheel.stem.split("-")[-3:]
    return binary in ("none", "abi3") or python == f"cp{sys.version_info.major}{sys.version_info.minor}"


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main() -> None:
    match sys.argv[1:]:
        case ["get", python, *names]:
            get(python, names)
        case ["put", folder]:
            put(Path(folder))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
