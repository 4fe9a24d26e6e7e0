"""Limits the requests of each user."""

from __future__ import annotations

import math
import time
from collections import OrderedDict

from imagegen.errors import TooManyBytes, TooManyRequests

MAX_TRACKED_KEYS = 10_000


class RateLimiter:
    """A token bucket per key: it holds `max_per_minute` tokens and refills evenly.

    Keeps the MAX_TRACKED_KEYS keys that were used last. Raises `error`.
    """

    def __init__(
        self, max_per_minute: int, error: type[TooManyRequests] | type[TooManyBytes] = TooManyRequests
    ) -> None:
        self.max_per_minute, self.error = max_per_minute, error
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, key: str) -> None:
        """Takes no token. Raises TooManyRequests when there is none."""
        self._take_tokens(key, 0)

    def consume(self, key: str, cost: int = 1) -> None:
        """Takes `cost` tokens, also if there are fewer: the others are owed. Raises the error when there is none."""
        self._take_tokens(key, cost)

    def _take_tokens(self, key: str, cost: int) -> None:
        now = time.monotonic()
        tokens, updated_at = self._buckets.pop(key, (float(self.max_per_minute), now))
        tokens = min(self.max_per_minute, tokens + (now - updated_at) * self.max_per_minute / 60)
        is_allowed = tokens >= 1
        self._buckets[key] = (tokens - cost if is_allowed else tokens, now)
        while len(self._buckets) > MAX_TRACKED_KEYS:
            self._buckets.popitem(last=False)
        if not is_allowed:
            raise self.error(most=self.max_per_minute, retry_after=math.ceil((1 - tokens) * 60 / self.max_per_minute))
