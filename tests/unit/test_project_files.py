"""README, pinned versions and container files."""

from __future__ import annotations

import ast
import json
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagegen.schema.request import GenerationRequest
from imagegen.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SOURCES = [ROOT / "app.py", *(file for part in ("imagegen", "ui", "training") for file in (ROOT / part).rglob("*.py"))]


def lines(name: str) -> list[str]:
    return [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]


def pins(name: str) -> dict[str, str]:
    return dict(line.split("==") for line in lines(name))


def first_column(heading: str) -> set[str]:
    """Returns the `backticked` names in the first column of the table under a heading of the README."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return set(re.findall(r"`(\w+)`", " ".join(cells)))


def list_imports(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Import(aliases):
                names |= {alias.name.partition(".")[0] for alias in aliases}
            case ast.ImportFrom(str(source)):
                names.add(source.partition(".")[0])
    return names


def test_a_space_runs_the_gradio_that_is_tested() -> None:
    fields: dict[str, Any] = yaml.safe_load(README.split("---\n")[1])
    assert fields["sdk_version"] == pins("requirements.txt")["gradio"]
    assert (ROOT / fields["app_file"]).is_file()
    assert len(fields["short_description"]) <= 60


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "tests/python/requirements.txt"])
def test_pins_are_exact_and_agree_with_the_constraints(name: str) -> None:
    constraints = (ROOT / name).with_name("constraints.txt").relative_to(ROOT)
    assert set(lines(name)) <= set(lines(str(constraints)))


def test_everything_that_is_imported_is_required() -> None:
    packages = packages_distributions()
    modules = set().union(*map(list_imports, SOURCES)) - {"imagegen", "ui", "training"} - sys.stdlib_module_names
    required = pins("requirements.txt")
    assert {
        name for name in modules if not {p.lower().replace("_", "-") for p in packages[name]} & set(required)
    } == set()


def test_the_readme_lists_every_setting_and_every_parameter() -> None:
    assert first_column("Settings") == set(Settings.model_fields)
    assert first_column("The API") == set(GenerationRequest.model_fields)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\((?!http|#)([^)]+)\)", README))))
def test_what_the_readme_points_to_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_container_holds_what_the_studio_imports() -> None:
    let_in = {line.removeprefix("!").removesuffix(".py") for line in lines(".dockerignore") if line.startswith("!")}
    ours = {path.stem for path in ROOT.iterdir()} & set().union(*map(list_imports, SOURCES)) - {"training"}
    assert let_in >= ours | {"app", "assets"}


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_container_keeps_what_matters_and_is_published_to_this_machine_alone(name: str) -> None:
    service = COMPOSE["services"][name]
    volumes = json.loads(re.findall(r"^VOLUME (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[0])
    assert volumes == ["/models", "/cache/huggingface", "/logs", "/data"]
    assert {volume.partition(":")[2] for volume in service["volumes"]} == set(volumes)
    assert service["ports"] == ["${STUDIO_PUBLISH:-127.0.0.1}:7860:7860"]


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_container_runs_without_privileges_on_a_read_only_system(name: str) -> None:
    service, image = COMPOSE["services"][name], (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^USER (.*)$", image, re.MULTILINE) == ["1000:1000"]
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    written = re.findall(r"STUDIO_\w+_DIR=(\S+)|HF_HOME=(\S+)", image)
    volumes = json.loads(re.findall(r"^VOLUME (.*)$", image, re.MULTILINE)[0])
    assert {path for paths in written for path in paths if path} == set(volumes)


def test_two_containers_share_no_data_volume() -> None:
    volumes = [volume for service in COMPOSE["services"].values() for volume in service["volumes"]]
    own = [volume.partition(":")[0] for volume in volumes if volume.endswith((":/data", ":/logs"))]
    assert len(set(own)) == len(own) == 2 * len(COMPOSE["services"])
    assert {volume.partition(":")[0] for volume in volumes} == set(COMPOSE["volumes"])
