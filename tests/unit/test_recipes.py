"""The recipes of CONTRIBUTING.md name files that exist, and fewer than ten each."""

from __future__ import annotations

import re

import pytest

from tests.unit.source_imports import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = re.split(r"^### (.+)$", TEXT.split("\n## Recipes\n")[1].split("\n## ")[0], flags=re.MULTILINE)
FILES_BY_RECIPE = {
    name: set(re.findall(r"`([\w/.-]+(?:/|\.\w+))`", text))
    for name, text in zip(RECIPES[1::2], RECIPES[2::2], strict=True)
}


def test_there_is_a_recipe_for_each_common_change() -> None:
    expected = {"A request field", "A sampler", "A model family", "A door", "A tool on the page", "A setting"}
    assert expected <= FILES_BY_RECIPE.keys()


@pytest.mark.parametrize("name", FILES_BY_RECIPE)
def test_a_recipe_names_fewer_than_ten_files_and_all_exist(name: str) -> None:
    files = FILES_BY_RECIPE[name]
    assert 0 < len(files) < 10
    assert {file for file in files if not (ROOT / file).exists()} == set()
