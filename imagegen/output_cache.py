"""Pictures that are there already: what somebody asks for again, to the last seed, need not be made again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

from imagegen.belongings import Belongings
from imagegen.images import ImageStore
from imagegen.info import AdapterSource, ModelSource
from imagegen.jobs import Job, JobStore
from imagegen.schema import GenerationRequest, Picture, Result
from imagegen.workers.messages import Run, WorkerReady


class OutputCache:
    """Knows finished jobs by a digest of all that decided their pictures.

    `maker` is what the worker said when it got ready, None while there is none: another device, another precision or
    another version of a package makes other pictures.
    """

    def __init__(self, belongings: Belongings, jobs: JobStore, images: ImageStore, is_on: bool) -> None:
        self.belongings, self.jobs, self.images, self.is_on = belongings, jobs, images, is_on
        self.maker: WorkerReady | None = None
        self._running: dict[str, str] = {}

    def found(
        self, owner: str, request: GenerationRequest, model: ModelSource, adapters: Sequence[AdapterSource]
    ) -> Result | None:
        """What the same request gave the same user before, as long as all of its pictures are there."""
        began = time.monotonic()
        digest = self._digest(request, model, adapters)
        job_id = self.belongings.answer(owner, digest) if digest is not None else None
        result = self.jobs.last(job_id) if job_id is not None else None
        if not isinstance(result, Result) or not all(map(self._is_there, result.pictures)):
            return None
        return Result(
            pictures=tuple(kept(picture) for picture in result.pictures),
            latency_ms=round((time.monotonic() - began) * 1000),
            nsfw_detected=result.nsfw_detected,
        )

    def begin(self, run: Run) -> None:
        digest = self._digest(run.request, run.model, run.adapters)
        if digest is not None:
            self._running[run.job_id] = digest

    def end(self, job: Job, is_done: bool) -> None:
        """Remembers a job that the worker has done. Others, and those that were answered from here, are no answers."""
        digest = self._running.pop(job.id, None)
        if digest is not None and is_done:
            self.belongings.add_answer(job.owner, digest, job.id)

    def _digest(self, request: GenerationRequest, model: ModelSource, adapters: Sequence[AdapterSource]) -> str | None:
        if not self.is_on or self.maker is None:
            return None
        parts = (request, model, self.maker, *adapters)
        return hashlib.sha256("\n".join(part.model_dump_json() for part in parts).encode()).hexdigest()

    def _is_there(self, picture: Picture) -> bool:
        return self.images.path(picture.id).exists()


def kept(picture: Picture) -> Picture:
    return picture.model_copy(update={"receipt": picture.receipt.model_copy(update={"cached": True})})
