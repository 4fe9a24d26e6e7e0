"""How often somebody may ask."""

from __future__ import annotations

import math
import time
from collections import OrderedDict

from imagegen.errors import TooManyRequests

MOST_KNOWN = 10_000


class Minute:
    """At most so many requests a minute from each: a bucket that holds as many, and fills up evenly."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, who: str) -> None:
        """Raises TooManyRequests when the next one would be too many."""
        self._take(who, 0)

    def count(self, who: str) -> None:
        """Raises TooManyRequests."""
        self._take(who, 1)

    def _take(self, who: str, cost: int) -> None:
        now = time.monotonic()
        left, since = self._buckets.pop(who, (float(self.most), now))
        left = min(self.most, left + (now - since) * self.most / 60)
        allowed = left >= 1
        self._buckets[who] = (left - cost if allowed else left, now)
        while len(self._buckets) > MOST_KNOWN:
            self._buckets.popitem(last=False)
        if not allowed:
            raise TooManyRequests(most=self.most, retry_after=math.ceil((1 - left) * 60 / self.most))
