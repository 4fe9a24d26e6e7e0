"""Who waits for news of something is woken when there are any, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Bells:
    """One for each name, as long as somebody listens to it. Look first, and then listen: nothing comes in between."""

    def __init__(self) -> None:
        self._bells: dict[str, asyncio.Event] = {}

    async def heard(self, name: str) -> None:
        """Returns when that bell rings next."""
        await self._bells.setdefault(name, asyncio.Event()).wait()

    def ring(self, name: str) -> None:
        if name in self._bells:
            self._bells.pop(name).set()

    def ring_all(self, wanted: Callable[[str], bool] = lambda _: True) -> None:
        for name in filter(wanted, list(self._bells)):
            self.ring(name)
