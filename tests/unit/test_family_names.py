"""What differs by model family stands with the family: no other code asks for the class of a pipeline."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from imagegen.library.family_facts import FAMILIES

ROOT = Path(__file__).parents[2]
FILES = [
    file
    for folder in ("engine", "library")
    for file in sorted((ROOT / "imagegen" / folder).rglob("*.py"))
    if file != ROOT / "imagegen/library/family_facts.py" and file.parent.name != "families"
]
FAMILY_NAMES = re.compile("|".join(name.removesuffix("Pipeline") for name in FAMILIES))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_other_file_compares_names_of_families(file: Path) -> None:
    compared = [
        node.value
        for parent in ast.walk(ast.parse(file.read_text()))
        if isinstance(parent, ast.Compare | ast.MatchValue | ast.Call)
        for node in ast.iter_child_nodes(parent)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [text for text in compared if FAMILY_NAMES.search(text) and " " not in text] == []
