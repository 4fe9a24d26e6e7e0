"""CUDA's headers, which compiling for a GPU needs in addition to a C++ compiler.

A CUDA toolkit has all of them. torch's pip packages have some; `nvidia-cuda-crt` and `nvidia-cuda-cccl` have the rest.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

DEFAULT_CUDA_HOME = Path("/usr/local/cuda")
REQUIRED_HEADERS = ("cuda.h", "cuda_fp16.h", "crt/host_defines.h", "nv/target")


def find_missing_header() -> str | None:
    """Returns the first required header that is missing, or None."""
    include_folders = list_include_folders()
    return next(
        (name for name in REQUIRED_HEADERS if not any((folder / name).is_file() for folder in include_folders)), None
    )


def build_environment() -> dict[str, str]:
    """Returns the environment variables that make torch and the compiler find the headers; empty without headers."""
    include_folders = list_include_folders()
    home = next((folder.parent for folder in include_folders if (folder / REQUIRED_HEADERS[0]).is_file()), None)
    paths = [*map(str, include_folders), *filter(None, [os.environ.get("CPATH")])]
    return {"CUDA_HOME": str(home), "CPATH": os.pathsep.join(paths)} if home else {}


def list_include_folders() -> list[Path]:
    """Returns the include folders of one toolkit, else of pip's packages."""
    nvcc = shutil.which("nvcc")
    from_environment = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    candidates = [*from_environment, nvcc and Path(nvcc).parents[1], DEFAULT_CUDA_HOME]
    toolkits = [Path(name) for name in candidates if name and (Path(name) / "include" / REQUIRED_HEADERS[0]).is_file()]
    packages = [folder for root in sys.path for folder in sorted(Path(root).glob("nvidia/*"))]
    roots = [folder / "include" for folder in toolkits[:1] or packages]
    return [folder for root in roots for folder in (root, root / "cccl") if folder.is_dir()]
