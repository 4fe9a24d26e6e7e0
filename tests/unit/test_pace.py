"""How many rows a pass gets: more while that pays, fewer where memory ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagegen.engine.pace import FEW, MOST, Pace


def after(pace: Pace, seconds: Callable[[int], float], passes: int = 12, waiting: int = 1000) -> int:
    """The limit after so many full passes."""
    for _ in range(passes):
        rows = min(pace.limit, waiting)
        pace.took(rows, seconds(rows))
    return pace.limit


def test_where_a_pass_costs_the_same_for_all_it_gets_as_many_rows_as_may_be() -> None:
    assert after(Pace(), lambda rows: 0.03) == MOST


def test_where_rows_take_turns_it_stays_small() -> None:
    assert after(Pace(), lambda rows: 0.03 * rows) == FEW


@pytest.mark.parametrize("best", [16, 32])
def test_it_settles_where_more_rows_are_slower(best: int) -> None:
    assert after(Pace(), lambda rows: 0.1 + 0.01 * rows + 0.05 * max(0, rows - best)) == best


def test_one_slow_pass_is_not_the_last_try() -> None:
    pace = Pace()
    pace.took(8, 0.03)
    pace.took(16, 3.0)
    assert pace.limit == 16
    assert after(pace, lambda rows: 0.03) == MOST


def test_no_pass_is_larger_than_the_memory_that_is_free() -> None:
    pace = Pace()
    pace.took(2, 0.01)
    pace.needed(2, extra=2_000_000, free=5_000_000)
    assert pace.limit == 4


def test_where_memory_ended_passes_are_half_as_large_and_grow_again_slowly() -> None:
    pace = Pace()
    after(pace, lambda rows: 0.03)
    pace.failed(32)
    assert pace.limit == 16
    assert after(pace, lambda rows: 0.03, passes=10) == 16
    assert after(pace, lambda rows: 0.03, passes=200) > 32


def test_a_row_that_does_not_fit_is_tried_all_the_same() -> None:
    pace = Pace()
    pace.failed(1)
    assert pace.limit == 1
