"""Loads models into the memory of workers and frees them, and makes control maps there."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress

from imagegen.errors import JobFailed, RemoteError, WorkerLost
from imagegen.schema.models import AdapterSource, ModelSource
from imagegen.workers.base import Worker
from imagegen.workers.messages import MakeMap, MapMade, ModelsInMemory, ModelWarmed, Report, WorkerGone
from imagegen.workers.registry import WorkerRegistry

logger = logging.getLogger(__name__)

RELEASE_TIMEOUT_SECONDS = 5.0


class ModelMemory:
    """Waits for the reports that answer `warm`, `release` and `make_map`.

    `wait_until_ready` waits for a ready worker, and raises WorkerUnavailable when there will be none.
    """

    def __init__(
        self, worker: Worker, registry: WorkerRegistry, wait_until_ready: Callable[[], Awaitable[None]]
    ) -> None:
        self.worker, self.registry, self._wait_until_ready = worker, registry, wait_until_ready
        self._memory_changed = asyncio.Event()
        # The name of the worker and its reply, by `warm_id`.
        self._pending_warms: dict[str, tuple[str, asyncio.Future[ModelWarmed]]] = {}
        # The same by `map_id`.
        self._pending_maps: dict[str, tuple[str, asyncio.Future[MapMade]]] = {}

    async def warm(self, source: ModelSource) -> None:
        """Loads a model on one worker, and returns when it is on the device. Cancelling this abandons the load.

        Raises WorkerUnavailable, WorkerLost and what loading raises.
        """
        await self._wait_until_ready()
        worker, warm_id = self.registry.choose_for_loading(source.id), uuid.uuid4().hex
        future: asyncio.Future[ModelWarmed] = asyncio.get_running_loop().create_future()
        self._pending_warms[warm_id] = worker, future
        self.worker.warm(source, worker, warm_id)
        try:
            reply = await future
        except asyncio.CancelledError:
            self.worker.cancel_warm(warm_id, worker)
            raise
        finally:
            self._pending_warms.pop(warm_id, None)
        if reply.message is not None:
            raise RemoteError(reply.code or JobFailed.code, reply.message)

    async def make_map(self, networks: tuple[AdapterSource, ...], image_id: str) -> str:
        """Returns the id of the control map of an input picture, which a worker makes with a network, and its others.

        Raises WorkerUnavailable, WorkerLost and what loading raises.
        """
        await self._wait_until_ready()
        worker, map_id = self.registry.choose_for_loading(networks[0].id), uuid.uuid4().hex
        future: asyncio.Future[MapMade] = asyncio.get_running_loop().create_future()
        self._pending_maps[map_id] = worker, future
        self.worker.make_map(MakeMap(map_id=map_id, image_id=image_id, networks=networks), worker)
        try:
            reply = await future
        finally:
            self._pending_maps.pop(map_id, None)
        if reply.image_id is None:
            raise RemoteError(reply.code or JobFailed.code, reply.message or str(JobFailed()))
        return reply.image_id

    async def release(self, model_id: str) -> None:
        """Frees a model on all workers, and returns when that is done, or after RELEASE_TIMEOUT_SECONDS.

        A worker frees a model that a job uses only when the job has ended.
        """
        self.worker.release(model_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(RELEASE_TIMEOUT_SECONDS):
                while model_id in self.registry.list_models():
                    await self._memory_changed.wait()

    def handle_report(self, report: Report) -> None:
        """Takes a report that the registry has handled already."""
        match report:
            case ModelsInMemory(worker=worker, models=models, bytes_by_device=sizes):
                log_fields = {"action": "models_held", "worker": worker, "models": models, "bytes": sizes}
                logger.info("Models in memory", extra=log_fields)
                self._signal_change()
            case ModelWarmed():
                self._resolve_warm(report)
            case MapMade():
                _, future = self._pending_maps.pop(report.map_id, ("", None))
                if future is not None and not future.done():
                    future.set_result(report)
            case WorkerGone():
                self._fail_warms(report.worker)
                self._signal_change()

    def close(self) -> None:
        """Fails all that wait for a worker."""
        for worker in self.registry.statuses:
            self._fail_warms(worker)

    def _signal_change(self) -> None:
        changed, self._memory_changed = self._memory_changed, asyncio.Event()
        changed.set()

    def _resolve_warm(self, reply: ModelWarmed) -> None:
        """Does nothing for a load that was abandoned."""
        _, future = self._pending_warms.pop(reply.warm_id, ("", None))
        if future is not None and not future.done():
            future.set_result(reply)

    def _fail_warms(self, lost_worker: str) -> None:
        error = WorkerLost()
        for warm_id, (worker, _) in list(self._pending_warms.items()):
            if worker == lost_worker:
                reply = ModelWarmed(worker=worker, warm_id=warm_id, code=error.code, message=str(error))
                self._resolve_warm(reply)
        for map_id, (worker, _) in list(self._pending_maps.items()):
            if worker == lost_worker:
                self.handle_report(MapMade(worker=worker, map_id=map_id, code=error.code, message=str(error)))
