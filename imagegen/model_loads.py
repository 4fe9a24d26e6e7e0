"""The models that are being loaded into memory: shared between those who wait, and stopped for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from imagegen.errors import LoadStopped
from imagegen.schema.models import ModelSource


class ModelLoads:
    """Callers with the same model share one load; it continues when all of them have left.

    `load` makes a model ready. Its task is cancelled to stop it.
    """

    def __init__(self, load: Callable[[ModelSource], Awaitable[None]]) -> None:
        self._load = load
        self._tasks: dict[ModelSource, asyncio.Future[None]] = {}

    async def follow(self, source: ModelSource) -> None:
        """Starts or joins a load, and returns when it has ended. Raises LoadStopped and what `load` raises."""
        task = self._tasks.get(source)
        if task is None:
            task = self._tasks[source] = asyncio.ensure_future(self._load(source))
            task.add_done_callback(lambda ended: self._forget(source, ended))
        await asyncio.wait({task})
        if task.cancelled():
            raise LoadStopped
        await task

    def stop(self, model_id: str) -> bool:
        """Stops the load of a model: all who follow it get LoadStopped at once. Returns whether there was one."""
        stopped = [source for source in self._tasks if source.id == model_id]
        for source in stopped:
            self._tasks.pop(source).cancel()
        return bool(stopped)

    def list_all(self) -> set[str]:
        """Returns the ids of the models that are being loaded."""
        return {source.id for source in self._tasks}

    def _forget(self, source: ModelSource, ended: asyncio.Future[None]) -> None:
        if self._tasks.get(source) is ended:
            del self._tasks[source]
        if not ended.cancelled():
            ended.exception()  # All who followed it may have left.
