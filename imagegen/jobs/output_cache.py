"""Finds the pictures of an earlier job for an identical request, so that they need not be generated again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from imagegen.schema.events import FinalEvent, Result
from imagegen.schema.models import AdapterSource, ModelSource, Upscalers
from imagegen.schema.receipt import Picture, RequestedAs
from imagegen.schema.request import GenerationRequest
from imagegen.storage.files import ImageStore
from imagegen.storage.jobs import JobSources
from imagegen.storage.storage import Storage, Tables
from imagegen.workers.messages import JobOrder, WorkerReady
from imagegen.workers.registry import WorkerRegistry


class OutputCache:
    """Stores a digest of everything that decides the pictures of a finished job.

    The digest includes the device, dtype and versions of packages of the worker, which the registry knows: another
    device, dtype or version of a package gives other pictures. Another version of the studio does not.
    """

    def __init__(self, storage: Storage, images: ImageStore, workers: WorkerRegistry, is_enabled: bool) -> None:
        self.storage, self.images, self.workers = storage, images, workers
        self.is_enabled = is_enabled
        self._running_digests: dict[str, str] = {}

    async def find(self, owner: str, request: GenerationRequest, sources: JobSources) -> Result | None:
        """Returns the result of the same request of the same user, None unless all of its pictures are still on disk.

        The receipts say that the pictures are cached, and what this request named. Raises StorageUnavailable.
        """
        started_at = time.monotonic()
        if not self.is_enabled:
            return None
        infos = self.workers.list_infos()
        digests = dict.fromkeys(compute_digest(request, sources, info) for info in infos)
        result = await self.storage.read(lambda tables: self._get_first_result(tables, owner, digests))
        if result is None:
            return None
        return Result(
            pictures=mark_cached(result.pictures, sources.requested),
            latency_ms=round((time.monotonic() - started_at) * 1000),
            nsfw_detected=result.nsfw_detected,
        )

    def track_job(self, order: JobOrder, worker: str) -> None:
        """Remembers the digest of a job while it runs on the named worker."""
        info = self.workers.statuses[worker].info
        if self.is_enabled and info is not None:
            self._running_digests[order.job_id] = compute_digest(order.request, order, info)

    def get_digest(self, job_id: str, event: FinalEvent) -> str | None:
        """Returns the digest under which the end of a running job is found again.

        None for a job that `track_job` does not know, and for what is not a finished picture.
        """
        is_finished = isinstance(event, Result) and event.is_finished
        return self._running_digests.get(job_id) if is_finished else None

    def forget_job(self, job_id: str) -> None:
        self._running_digests.pop(job_id, None)

    def _get_first_result(self, tables: Tables, owner: str, digests: Iterable[str]) -> Result | None:
        return next(filter(None, (self._get_result(tables, owner, digest) for digest in digests)), None)

    def _get_result(self, tables: Tables, owner: str, digest: str) -> Result | None:
        job_id = tables.ownership.get_cached_job(owner, digest)
        result = tables.jobs.get_last_event(job_id) if job_id is not None else None
        if not isinstance(result, Result):
            return None
        are_there = (self._is_there(tables, owner, picture) for picture in result.pictures)
        return result if all(are_there) else None

    def _is_there(self, tables: Tables, owner: str, picture: Picture) -> bool:
        return tables.pictures.owns(owner, picture.id) and self.images.picture_path(picture.id).exists()


class Sources(Protocol):
    """What has the files of a job: its stored sources, and its order to a worker."""

    @property
    def model(self) -> ModelSource | None: ...

    @property
    def adapters(self) -> Sequence[AdapterSource]: ...

    @property
    def upscalers(self) -> Upscalers: ...


def compute_digest(request: GenerationRequest, sources: Sources, info: WorkerReady) -> str:
    """Returns a SHA-256 of all that decides the pictures: not of the worker's name and the version of the studio."""
    worker_json = info.model_dump_json(exclude={"worker": True, "versions": {"studio"}})
    model_json = sources.model.model_dump_json() if sources.model is not None else ""
    files = (*sources.adapters, *sources.upscalers.values())
    parts = (request.model_dump_json(), model_json, worker_json, *(each.model_dump_json() for each in files))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def mark_cached(pictures: Sequence[Picture], requested: RequestedAs | None) -> tuple[Picture, ...]:
    """Returns the pictures of a job with what another request for them named."""
    count = len(pictures)
    return tuple(
        picture.model_copy(
            update={
                "receipt": picture.receipt.model_copy(
                    update={"cached": True, "requested": requested and requested.for_picture(index, count)}
                )
            }
        )
        for index, picture in enumerate(pictures)
    )
