"""Tests that share a studio or a model run in one process, and fast tests have a mark."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import grouping
from tests.grouping import find_group, get_position, is_fast

TESTS = Path(__file__).parents[1]
ACCEPTANCE, INTEGRATION, UNIT = (TESTS / folder / "test_any.py" for folder in ("acceptance", "integration", "unit"))


@pytest.mark.parametrize(
    ("fixtures", "group"),
    [
        (["browser", "page", "studio"], "studio"),
        (["caching_studio", "first", "studio"], "studio"),
        (["generate"], "engine"),
        (["engine", "harness"], "harness"),
        (["tmp_path"], "acceptance/test_any.py"),
        ([], "acceptance/test_any.py"),
    ],
)
def test_a_test_belongs_to_the_group_of_what_it_shares(fixtures: list[str], group: str) -> None:
    assert find_group(ACCEPTANCE, fixtures) == group


def test_a_unit_test_shares_no_studio_whatever_its_fixtures_are_called() -> None:
    assert find_group(UNIT, ["studio"]) == "unit/test_any.py"


def test_tests_of_training_and_bench_are_one_group() -> None:
    files = [TESTS / "integration/test_training.py", TESTS / "unit/test_bench_report.py"]
    assert {find_group(file, ["tmp_path"]) for file in files} == {grouping.TRAINING_AND_BENCH}


def test_asynchronous_tests_come_before_browsers_and_long_groups_before_short_ones() -> None:
    positions = [
        get_position(UNIT, grouping.TRAINING_AND_BENCH),
        get_position(UNIT, "unit/test_any.py"),
        get_position(INTEGRATION, "integration/test_any.py"),
        get_position(ACCEPTANCE, "studio"),
        get_position(ACCEPTANCE, "acceptance/test_any.py"),
        get_position(INTEGRATION, "engine"),
    ]
    assert positions == sorted(positions) and len(set(positions)) == len(positions)


def test_fast_tests_need_no_browser_and_generate_nothing() -> None:
    assert is_fast(UNIT)
    assert not is_fast(ACCEPTANCE) and not is_fast(INTEGRATION)


@pytest.mark.parametrize("name", grouping.TRAINING_AND_BENCH_FILES)
def test_files_that_are_named_are_there(name: str) -> None:
    assert list(TESTS.glob(f"*/{name}"))


def test_this_test_is_marked(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("fast") is not None
    assert request.node.get_closest_marker("xdist_group").args == ("unit/test_grouping.py",)


def test_the_id_ends_with_the_group_where_pytest_xdist_shares_tests_by_group(request: pytest.FixtureRequest) -> None:
    shares_by_group = getattr(request.config.option, "loadgroup", False)
    assert request.node.nodeid.endswith("@unit/test_grouping.py") == shares_by_group
