"""The versions of the packages that the tests run."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

from tests.clients.table import Registry

ROOT = Path(__file__).parents[2]
NODE_LOCK = ROOT / "tests/node/package-lock.json"
PYTHON_REQUIREMENTS = ROOT / "tests/python/requirements.txt"


def read_version(package: str, registry: Registry) -> str:
    """Returns the version that is installed, by the package's metadata.

    For a package of npm and for one of `tests/python` it is the version that their folders pin, so that the page can be
    checked without them.
    """
    if registry == "npm":
        installed: str = json.loads(NODE_LOCK.read_text())["packages"][f"node_modules/{package}"]["version"]
        return installed
    return read_python_pins().get(package) or version(package)


def read_python_pins() -> dict[str, str]:
    """Returns the versions of the packages that `tests/python/requirements.txt` names."""
    lines = PYTHON_REQUIREMENTS.read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))
