"""Finds the number of rows with which passes of a network are fastest, by measuring them."""

from __future__ import annotations

from math import inf

# Passes may always have this many rows, if there is memory.
MIN_ROWS = 8
MAX_ROWS = 64
# More rows per pass must make each row faster by this factor; after this many passes without that, it is given up.
MIN_SPEEDUP = 1.03
TRIALS = 3
# The share of the free memory that a pass may take; other things on the device need some meanwhile.
FREE_MEMORY_SHARE = 0.8
# After an out-of-memory error the limit grows again by this factor with each pass.
LIMIT_GROWTH = 1.005


class BatchSizer:
    """For calls with the same batch key. Tries more rows as long as that makes each row faster, and memory suffices."""

    def __init__(self) -> None:
        self._seconds: dict[int, list[float]] = {}
        self._memory_limit = self._out_of_memory_limit = inf

    def record_duration(self, rows: int, seconds: float) -> None:
        durations = self._seconds.setdefault(rows, [])
        durations.append(seconds)
        del durations[:-TRIALS]
        self._out_of_memory_limit *= LIMIT_GROWTH

    def record_memory(self, rows: int, extra_bytes: int, free_bytes: int) -> None:
        """Records that a pass allocated `extra_bytes` of `free_bytes` that were free."""
        if extra_bytes > 0:
            self._memory_limit = free_bytes * FREE_MEMORY_SHARE * rows / extra_bytes

    def record_out_of_memory(self, rows: int) -> None:
        """Records that there was not enough memory for a pass of `rows` rows."""
        self._out_of_memory_limit = rows / 2

    def get_fastest_seconds(self, rows: int) -> float:
        """Returns the least seconds that a recent pass of `rows` rows took; 0 if there was none."""
        return min(self._seconds.get(rows, [0.0]))

    @property
    def max_rows(self) -> int:
        """The most rows that the next pass should have, at least 1."""
        best = self._find_best_rows()
        tries = sum(len(tries) for rows, tries in self._seconds.items() if rows > 1.5 * best)
        wanted = best if tries >= TRIALS else 2 * best
        return max(1, int(min(max(MIN_ROWS, wanted), MAX_ROWS, self._memory_limit, self._out_of_memory_limit)))

    def _find_best_rows(self) -> int:
        """Returns the least number of rows per pass at which a row is as fast as at any other."""
        rates = {rows: rows / min(tries) for rows, tries in self._seconds.items()}
        fastest = max(rates.values(), default=0)
        return min((rows for rows, rate in rates.items() if rate * MIN_SPEEDUP >= fastest), default=1)
