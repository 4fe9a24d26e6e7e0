"""The number of rows per pass grows while that is faster, and shrinks when memory runs out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagegen.engine.batching.batch_size import MAX_ROWS, MIN_ROWS, BatchSizer


def run_passes(batch_sizer: BatchSizer, seconds: Callable[[int], float], passes: int = 12, waiting: int = 1000) -> int:
    """Returns the limit after a number of full passes."""
    for _ in range(passes):
        rows = min(batch_sizer.max_rows, waiting)
        batch_sizer.record_duration(rows, seconds(rows))
    return batch_sizer.max_rows


def test_where_a_pass_costs_the_same_for_all_it_gets_as_many_rows_as_may_be() -> None:
    assert run_passes(BatchSizer(), lambda rows: 0.03) == MAX_ROWS


def test_where_rows_take_turns_it_stays_small() -> None:
    assert run_passes(BatchSizer(), lambda rows: 0.03 * rows) == MIN_ROWS


@pytest.mark.parametrize("best", [16, 32])
def test_it_settles_where_more_rows_are_slower(best: int) -> None:
    assert run_passes(BatchSizer(), lambda rows: 0.1 + 0.01 * rows + 0.05 * max(0, rows - best)) == best


def test_one_slow_pass_is_not_the_last_try() -> None:
    batch_sizer = BatchSizer()
    batch_sizer.record_duration(8, 0.03)
    batch_sizer.record_duration(16, 3.0)
    assert batch_sizer.max_rows == 16
    assert run_passes(batch_sizer, lambda rows: 0.03) == MAX_ROWS


def test_no_pass_is_larger_than_the_memory_that_is_free() -> None:
    batch_sizer = BatchSizer()
    batch_sizer.record_duration(2, 0.01)
    batch_sizer.record_memory(2, extra_bytes=2_000_000, free_bytes=5_000_000)
    assert batch_sizer.max_rows == 4


def test_where_memory_ended_passes_are_half_as_large_and_grow_again_slowly() -> None:
    batch_sizer = BatchSizer()
    run_passes(batch_sizer, lambda rows: 0.03)
    batch_sizer.record_out_of_memory(32)
    assert batch_sizer.max_rows == 16
    assert run_passes(batch_sizer, lambda rows: 0.03, passes=10) == 16
    assert run_passes(batch_sizer, lambda rows: 0.03, passes=200) > 32


def test_a_row_that_does_not_fit_is_tried_all_the_same() -> None:
    batch_sizer = BatchSizer()
    batch_sizer.record_out_of_memory(1)
    assert batch_sizer.max_rows == 1
