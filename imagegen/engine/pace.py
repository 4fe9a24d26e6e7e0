"""How many rows one pass of a network should have: found by measuring, while it works."""

from __future__ import annotations

from math import inf

# So many are always worth a pass, if there is memory.
FEW = 8
MOST = 64
# More must be worth it: rows must get so much faster. It is given up when so many passes were not.
GAIN = 1.03
TRIES = 3
# Of the memory that is free; other things on the device need some meanwhile.
SHARE = 0.8
# Where there was no memory, there may be some again: by so much more is tried after each pass.
HOPE = 1.005


class Pace:
    """Of calls that are alike. Ever more rows are tried as long as each gets faster by it, and there is memory."""

    def __init__(self) -> None:
        self._seconds: dict[int, list[float]] = {}
        self._expected = self._found = inf

    def took(self, rows: int, seconds: float) -> None:
        tries = self._seconds.setdefault(rows, [])
        tries.append(seconds)
        del tries[:-TRIES]
        self._found *= HOPE

    def needed(self, rows: int, extra: int, free: int) -> None:
        """A pass needed so many bytes beside what was there, of those that are free."""
        if extra > 0:
            self._expected = free * SHARE * rows / extra

    def failed(self, rows: int) -> None:
        """There was no memory for so many."""
        self._found = rows / 2

    def least(self, rows: int) -> float:
        """Seconds that a pass of so many rows took at best, lately; 0 when nobody knows."""
        return min(self._seconds.get(rows, [0.0]))

    @property
    def limit(self) -> int:
        """The most rows that the next pass should have."""
        best = self._best()
        tries = sum(len(tries) for rows, tries in self._seconds.items() if rows > 1.5 * best)
        wanted = best if tries >= TRIES else 2 * best
        return max(1, int(min(max(FEW, wanted), MOST, self._expected, self._found)))

    def _best(self) -> int:
        """The fewest rows that are as fast as any, each."""
        rates = {rows: rows / min(tries) for rows, tries in self._seconds.items()}
        fastest = max(rates.values(), default=0)
        return min((rows for rows, rate in rates.items() if rate * GAIN >= fastest), default=1)
