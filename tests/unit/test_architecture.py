"""Who may import whom. Each layer is imported in an interpreter of its own."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TORCH = {"accelerate", "diffusers", "peft", "torch", "transformers"}
PAGE = {"gradio", "gradio_client"}
WEB = {*PAGE, "authlib", "fastapi", "mcp", "starlette"}
DOORS = {"app", "ui"}

# Imports what it is told to, and tells what else that imported and started.
PROBE = """
import importlib, json, sys, threading
for name in sys.argv[1:]:
    importlib.import_module(name)
modules = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"modules": modules, "threads": threading.active_count()}))
"""


def modules(folder: str) -> list[str]:
    files = sorted((ROOT / folder).rglob("*.py"))
    return [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]


def needs_torch(module: str) -> bool:
    return module.startswith(("imagegen.engine.", "imagegen.workers.child", "imagegen.workers.desk"))


API = [module for module in modules("imagegen") if module.startswith("imagegen.api.")]
CORE = [module for module in modules("imagegen") if not needs_torch(module) and module not in API]
ENGINE = [module for module in modules("imagegen") if needs_torch(module)]


@pytest.mark.parametrize(
    ("layer", "forbidden"),
    [(CORE, TORCH | WEB | DOORS), (API, TORCH | PAGE | DOORS), (modules("ui"), TORCH | {"app"}), (["app"], TORCH)],
    ids=["imagegen", "api", "ui", "app"],
)
def test_importing_a_layer_brings_no_other_and_does_nothing(
    layer: list[str], forbidden: set[str], tmp_path: Path
) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", PROBE, *layer]
    probe = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert probe.stderr == ""
    found = json.loads(probe.stdout)
    assert forbidden.isdisjoint(found["modules"])
    assert found["threads"] == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ENGINE)
def test_the_engine_knows_nothing_of_pages_users_or_jobs(module: str) -> None:
    """Read, not imported: torch takes long."""
    forbidden = WEB | DOORS | {"imagegen.jobs", "imagegen.service", "imagegen.settings"}
    named = set(named_imports(ROOT / Path(*module.split(".")).with_suffix(".py")))
    assert forbidden.isdisjoint(named | {name.partition(".")[0] for name in named})


def named_imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(str(source)):
                yield source
