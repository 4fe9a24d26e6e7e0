"""The scorecard of bench.soak names checks that exist."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest

from bench.soak.measurement import at_most, percentile
from bench.soak.scorecard import SCORECARD, Row

ROOT = Path(__file__).parents[2]
IDS = [row.id for row in SCORECARD]


def list_tests(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_each_row_is_there_once() -> None:
    expected = [("L", 6), ("F", 12), ("B", 4), ("A", 4), ("M", 2), ("D", 1)]
    assert [f"{letter}{number}" for letter, count in expected for number in range(1, count + 1)] == IDS


@pytest.mark.parametrize("row", SCORECARD, ids=IDS)
def test_each_row_has_a_check_or_says_what_it_waits_for(row: Row) -> None:
    assert bool(row.tests or row.function) != bool(row.missing)
    for test in row.tests:
        file, _, name = test.partition("::")
        assert name in list_tests(file), f"{test} does not exist"


@pytest.mark.parametrize("function", sorted({row.function for row in SCORECARD if row.function}))
def test_each_function_of_a_row_exists_and_takes_a_scale(function: str) -> None:
    module, _, name = function.partition(".")
    found = getattr(import_module(f"bench.soak.{module}"), name)
    assert list(signature(found).parameters) == ["scale"]


def test_a_figure_above_its_limit_fails() -> None:
    assert [at_most("L4", "it", value, 20, "ms").passed for value in (19.9, 20, 20.1)] == [True, True, False]
    assert re.fullmatch(r"≤ 20 ms", at_most("L4", "it", 1, 20, "ms").limit)


def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed() -> None:
    assert percentile(list(range(1, 101)), 99) == 99
    assert percentile([5], 99) == 5
