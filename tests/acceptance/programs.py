"""Runs the programs of tests/node and tests/python, which use the studio through packages of npm and PyPI."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.acceptance.conftest import ROOT

NODE, PYTHON = ROOT / "tests/node", ROOT / "tests/python"


def run_node(program: str, *arguments: str) -> dict[str, Any]:
    """Returns what a JavaScript program prints, as JSON. It must end without an error."""
    done = subprocess.run(
        ["node", program, *arguments], cwd=NODE, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    output: dict[str, Any] = json.loads(done.stdout)
    return output


def run_python(program: str, *arguments: str) -> dict[str, Any]:
    """Returns the last line that a program of tests/python prints, as JSON. It must end without an error.

    It runs in the environment of that folder: `make tests/python/.venv` creates it.
    """
    command = [str(PYTHON / ".venv/bin/python"), program, *arguments]
    done = subprocess.run(command, cwd=PYTHON, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    output: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return output
