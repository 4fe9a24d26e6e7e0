"""How many rows one pass of a network should have: found by measuring, while it works."""

from __future__ import annotations

from math import inf

FIRST = 8
MOST = 64
# A larger pass must be worth it: rows must get so much faster. It is given up when so many were not.
GAIN = 1.03
TRIES = 3
# Of the memory that is free; other things on the device need some meanwhile.
SHARE = 0.8


class Pace:
    """Of calls that are alike. Ever more rows are tried as long as each gets faster by it, and there is memory."""

    def __init__(self) -> None:
        self._seconds: dict[int, list[float]] = {}
        self._room = inf

    def took(self, rows: int, seconds: float) -> None:
        tries = self._seconds.setdefault(rows, [])
        tries.append(seconds)
        del tries[:-TRIES]

    def needed(self, rows: int, extra: int, free: int) -> None:
        """A pass needed so many bytes beside what was there, of those that are free."""
        if extra > 0:
            self._room = max(1, free * SHARE * rows / extra)

    def failed(self, rows: int) -> None:
        """There was no memory for so many."""
        self._room = max(1, rows // 2)

    @property
    def limit(self) -> int:
        """The most rows that the next pass should have."""
        best = self._best()
        tries = sum(len(tries) for rows, tries in self._seconds.items() if rows > 1.5 * best)
        wanted = best if tries >= TRIES else max(FIRST, 2 * best)
        return int(min(wanted, MOST, self._room))

    def _best(self) -> int:
        """The fewest rows that are as fast as any, each."""
        rates = {rows: rows / min(tries) for rows, tries in self._seconds.items()}
        fastest = max(rates.values(), default=0)
        return min((rows for rows, rate in rates.items() if rate * GAIN >= fastest), default=1)
