"""The layers: who may import whom. Imports go down only, and no import runs code of another layer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.source_imports import ROOT, find_cycle, list_modules, read_graph, read_imports

TORCH = frozenset({"accelerate", "diffusers", "peft", "torch", "transformers"})
GRADIO = frozenset({"gradio", "gradio_client"})
WEB = GRADIO | {"authlib", "fastapi", "mcp", "starlette"}


@dataclass(frozen=True)
class Layer:
    """`modules` are dotted names and include everything below them. `may_import` names other layers."""

    modules: tuple[str, ...]
    may_import: frozenset[str]
    forbidden_packages: frozenset[str]


def layer(modules: str, may_import: str, forbidden: frozenset[str] = TORCH | WEB) -> Layer:
    return Layer(tuple(modules.split()), frozenset(may_import.split()), forbidden)


# From the bottom to the top.
LAYERS = {
    "schema": layer(
        "imagegen.schema imagegen.errors imagegen.file_names imagegen.languages imagegen.origins imagegen.text"
        " imagegen.version",
        "",
    ),
    "settings": layer("imagegen.settings", "schema"),
    "base": layer(
        "imagegen.logs imagegen.notifier imagegen.rate_limit imagegen.disconnects imagegen.supervision"
        " imagegen.listen_address imagegen.stop_signals imagegen.allocator",
        "schema settings",
    ),
    "media": layer("imagegen.media", "schema"),
    "storage": layer("imagegen.storage", "schema media"),
    "access": layer("imagegen.access", "schema settings base storage"),
    "library": layer("imagegen.library", "schema settings base"),
    "engine": layer("imagegen.engine", "schema media library", WEB),
    "worker_process": layer(
        "imagegen.workers.child imagegen.workers.engine_host", "schema settings base storage engine workers", WEB
    ),
    "workers": layer("imagegen.workers", "schema settings base worker_process"),
    "model_manager": layer("imagegen.model_manager imagegen.model_loads", "schema library workers"),
    "jobs": layer("imagegen.jobs", "schema settings base library storage workers model_manager"),
    "service": layer(
        "imagegen.service imagegen.service_runner imagegen.pictures imagegen.picture_settings imagegen.preprocessing"
        " imagegen.sent_images imagegen.users",
        "schema settings base media library storage workers model_manager jobs",
    ),
    "api": layer(
        "imagegen.api", "schema settings base media access library storage model_manager service", TORCH | GRADIO
    ),
    "ui": layer("ui", "schema settings service", TORCH),
    "app": layer("app", "schema settings base storage access library workers service api ui", TORCH),
    "training": layer("training", "schema media engine", WEB),
    "bench": layer(
        "bench",
        "schema settings base media library storage engine workers model_manager service api ui app",
        frozenset(),
    ),
}
# These import torch, which takes seconds: their imports are only read.
NOT_IMPORTED = {"engine", "worker_process", "training", "bench"}

# Imports the modules that are named on the command line. Prints the packages that this imported, and counts threads.
PROBE = """
import importlib, json, sys, threading
for name in sys.argv[1:]:
    importlib.import_module(name)
packages = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"packages": packages, "threads": threading.active_count()}))
"""

MODULES = {**list_modules("imagegen", "ui", "training", "bench"), "app": ROOT / "app.py"}


def get_layer(module: str) -> str | None:
    """Returns the layer that includes `module` under the longest name, or None."""
    names = {name: layer for layer, content in LAYERS.items() for name in content.modules}
    matches = [name for name in names if f"{module}.".startswith(f"{name}.")]
    return names[max(matches, key=len)] if matches else None


def list_layer_modules(name: str) -> list[str]:
    return [module for module in MODULES if get_layer(module) == name]


def test_every_module_belongs_to_a_layer() -> None:
    packages_above_layers = {"imagegen"}
    assert {module for module in MODULES if get_layer(module) is None} == packages_above_layers


def test_layers_are_listed_from_the_bottom_to_the_top() -> None:
    """A layer may import those below it. `workers` alone starts the layer that is above it, in its own process."""
    order = list(LAYERS)
    upward = {
        (name, imported)
        for name, content in LAYERS.items()
        for imported in content.may_import
        if order.index(imported) >= order.index(name)
    }
    assert upward == {("worker_process", "workers")}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_imports_only_layers_below_it(name: str) -> None:
    allowed = LAYERS[name].may_import | {name}
    forbidden = [
        f"{module} imports {imported}"
        for module, imports in read_graph(MODULES).items()
        for imported in sorted(imports)
        if get_layer(module) == name and get_layer(imported) not in {*allowed, None}
    ]
    assert forbidden == []


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_names_no_forbidden_package(name: str) -> None:
    forbidden = [
        f"{module} imports {imported}"
        for module in list_layer_modules(name)
        for imported in sorted(read_imports(MODULES[module]))
        if imported.partition(".")[0] in LAYERS[name].forbidden_packages
    ]
    assert forbidden == []


def group_by_forbidden_packages() -> dict[frozenset[str], list[str]]:
    """Returns the layers that may not load the same packages. Each import of many modules takes seconds."""
    groups: dict[frozenset[str], list[str]] = {}
    for name, facts in LAYERS.items():
        if name not in NOT_IMPORTED:
            groups.setdefault(facts.forbidden_packages, []).append(name)
    return groups


@pytest.mark.parametrize("forbidden", group_by_forbidden_packages(), ids=lambda packages: " ".join(sorted(packages)))
def test_importing_a_layer_loads_no_forbidden_package_and_does_nothing(
    forbidden: frozenset[str], tmp_path: Path
) -> None:
    modules = [module for name in group_by_forbidden_packages()[forbidden] for module in list_layer_modules(name)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", PROBE, *modules]
    probe = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert probe.stderr == ""
    found = json.loads(probe.stdout)
    assert forbidden.isdisjoint(found["packages"])
    assert found["threads"] == 1
    assert list(tmp_path.iterdir()) == []


def test_no_module_imports_itself_through_others() -> None:
    assert find_cycle(read_graph(MODULES)) == []


def test_a_cycle_is_found_with_its_modules() -> None:
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c", "b"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
