"""What compiling for a GPU takes besides a compiler: CUDA's headers.

A toolkit has them all. pip brings some beside torch, and the rest with `nvidia-cuda-crt` and `nvidia-cuda-cccl`.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

USUAL = Path("/usr/local/cuda")
NEEDED = ("cuda.h", "cuda_fp16.h", "crt/host_defines.h", "nv/target")


def missing_header() -> str | None:
    """The first that is not on this machine."""
    known = includes()
    return next((name for name in NEEDED if not any((folder / name).is_file() for folder in known)), None)


def environment() -> dict[str, str]:
    """Where torch and the compiler look for headers."""
    known = includes()
    home = next((folder.parent for folder in known if (folder / NEEDED[0]).is_file()), None)
    paths = [*map(str, known), *filter(None, [os.environ.get("CPATH")])]
    return {"CUDA_HOME": str(home), "CPATH": os.pathsep.join(paths)} if home else {}


def includes() -> list[Path]:
    """Those of one toolkit, or of pip's packages."""
    nvcc = shutil.which("nvcc")
    by_name = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    named = [*by_name, nvcc and Path(nvcc).parents[1], USUAL]
    toolkits = [Path(name) for name in named if name and (Path(name) / "include" / NEEDED[0]).is_file()]
    packages = [folder for place in sys.path for folder in sorted(Path(place).glob("nvidia/*"))]
    found = [folder / "include" for folder in toolkits[:1] or packages]
    return [place for folder in found for place in (folder, folder / "cccl") if place.is_dir()]
