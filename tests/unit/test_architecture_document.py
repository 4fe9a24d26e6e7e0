"""docs/architecture.md lists every file of the product, with one line for each, and the table of layers."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import imagegen.errors
from tests.unit.source_imports import ROOT
from tests.unit.test_architecture import LAYERS

DOCUMENT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def get_section(heading: str) -> str:
    return DOCUMENT.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def list_files() -> set[str]:
    """Returns the files of imagegen/ and ui/, without the `__init__.py` files, which hold no code of their own."""
    return {
        file.relative_to(ROOT).as_posix()
        for folder in ("imagegen", "ui")
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and file.name != "__init__.py" and file.suffix != ".pyc"
    }


def read_described_files() -> dict[str, str]:
    """Returns the description of each listed file, by its path."""
    return dict(list_described_files())


def list_described_files() -> list[tuple[str, str]]:
    """Returns the path and the description of each row."""
    sections = re.split(r"^### `(.+/)`$", get_section("Files"), flags=re.MULTILINE)
    return [
        (f"{folder}{name}", description)
        for folder, text in zip(sections[1::2], sections[2::2], strict=True)
        for name, description in re.findall(r"^\| `(.+?)` \| (.+?) \|$", text, re.MULTILINE)
    ]


def list_other_files(folder: str) -> set[str]:
    """Returns the files and folders that the table of `bench/`, `training/` or `tests/` names."""
    table = get_section("Other folders").split(f"\n### `{folder}/`\n")[1].split("\n### ")[0]
    return {name for row in re.findall(r"^\| (`.+?`) \| ", table, re.MULTILINE) for name in re.findall(r"`(.+?)`", row)}


def test_no_file_is_listed_twice() -> None:
    names = [name for name, _ in list_described_files()]
    assert sorted(names) == sorted(set(names))


def test_every_file_is_listed_and_every_listed_file_exists() -> None:
    assert set(read_described_files()) == list_files()


@pytest.mark.parametrize("folder", ["bench", "training", "tests"])
def test_other_folders_list_files_that_exist(folder: str) -> None:
    assert [name for name in list_other_files(folder) if not (ROOT / folder / name).exists()] == []


@pytest.mark.parametrize("folder", ["bench", "training"])
def test_every_program_of_bench_and_training_is_listed(folder: str) -> None:
    programs = {file.name for pattern in ("*.py", "*.sh") for file in (ROOT / folder).glob(pattern)} - {"__init__.py"}
    assert programs - list_other_files(folder) == set()


def test_files_have_different_descriptions() -> None:
    descriptions = list(read_described_files().values())
    assert len(set(descriptions)) == len(descriptions)


def list_init_files() -> list[Path]:
    return [file for folder in ("imagegen", "ui") for file in (ROOT / folder).rglob("__init__.py")]


def test_packages_hold_no_code_in_their_init_files() -> None:
    with_code = [
        file.relative_to(ROOT).as_posix()
        for file in list_init_files()
        if not re.fullmatch(r'(""".*"""\n)?', file.read_text(encoding="utf-8"), re.DOTALL)
    ]
    assert with_code == ["imagegen/errors/__init__.py"], "this one exports what is in its folder"


def test_the_errors_package_exports_all_that_its_files_define() -> None:
    """Its `__init__.py` holds nothing but its docstring, imports and the list of exported names."""
    folder = ROOT / "imagegen" / "errors"
    docstring, *imports, exported = ast.parse((folder / "__init__.py").read_text(encoding="utf-8")).body
    assert isinstance(docstring, ast.Expr) and all(isinstance(each, ast.ImportFrom) for each in imports)
    assert isinstance(exported, ast.Assign) and ast.literal_eval(exported.value) == imagegen.errors.__all__
    defined = {
        node.name
        for file in folder.glob("*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    }
    assert set(imagegen.errors.__all__) == defined


def test_the_document_lists_the_layers_that_are_tested() -> None:
    rows = re.findall(r"^\| ([a-z ]+) \| (`.+`) \| (.+) \|$", get_section("Layers"), re.MULTILINE)
    listed = {name.replace(" ", "_"): (modules, may_import) for name, modules, may_import in rows}
    assert listed == {
        name: (
            ", ".join(f"`{module}`" for module in layer.modules),
            ", ".join(each.replace("_", " ") for each in LAYERS if each in layer.may_import) or "nothing",
        )
        for name, layer in LAYERS.items()
    }


def test_paths_in_the_text_exist() -> None:
    paths = re.findall(r"`((?:imagegen|ui|tests|assets|training|bench)/[\w./]*)`", DOCUMENT)
    paths += [f"imagegen/{path}" for path in re.findall(r"`(engine/[\w./]*)`", DOCUMENT)]
    assert [path for path in paths if not (ROOT / path).exists()] == []
