"""The one door: every page and every API submits its jobs here, and watches them here."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path

from imagegen.bells import Bells
from imagegen.belongings import Belongings
from imagegen.errors import (
    ImageGenError,
    InvalidRequest,
    JobFailed,
    KeyReused,
    QueueFull,
    TooManyJobs,
    UnknownJob,
    UnknownPicture,
    WorkerUnavailable,
)
from imagegen.images import ImageStore
from imagegen.info import AdapterSource, ModelSource
from imagegen.jobs import Job, JobStore
from imagegen.library.library import Library
from imagegen.limits import Minute
from imagegen.logs import generation_finished
from imagegen.output_cache import OutputCache
from imagegen.schema import (
    LAST_EVENTS,
    SEED_LIMIT,
    Cancelled,
    Event,
    Failed,
    GenerationRequest,
    Progress,
    Queued,
    Result,
    Started,
    User,
)
from imagegen.settings import Settings
from imagegen.stock import Stock
from imagegen.validation import resolved, with_adapters
from imagegen.workers.base import Worker, WorkerState
from imagegen.workers.messages import Held, JobEvent, Run, Warmed, WorkerGone, WorkerReady

logger = logging.getLogger(__name__)

# The bell for what the worker can do; all others are for jobs, by their ids.
WORKER = "worker"


class Service:
    """Gives accepted jobs to the worker, several at a time, and lets any number of watchers follow each.

    Everything happens on one event loop: the one that `start` was called on.
    """

    def __init__(
        self, settings: Settings, library: Library, jobs: JobStore, images: ImageStore, worker: Worker
    ) -> None:
        self.settings, self.jobs, self.images, self.worker = settings, jobs, images, worker
        self.stock = Stock(library, worker, self._until_ready)
        self.belongings = Belongings(jobs.database)
        self._cache = OutputCache(self.belongings, jobs, images, settings.output_cache)
        self._minute, self._inputs = Minute(settings.requests_per_minute), Minute(settings.requests_per_minute)
        self._state: WorkerState = "warming up"
        self._trouble = ""
        self._running: dict[str, Job] = {}
        self._previews: dict[str, Progress] = {}
        self._preview_watchers: Counter[str] = Counter()
        self._bells = Bells()
        self._queue: dict[str, int] | None = None
        self._follower: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def state(self) -> WorkerState:
        return self._state

    async def start(self) -> None:
        """Begins to work, and returns at once: the worker warms up by itself."""
        self.jobs.interrupt_running()
        await self.worker.start()
        self._follower = asyncio.create_task(self._follow_worker())

    async def stop(self) -> None:
        """Ends the worker, downloads, and every watcher's wait. Jobs in the queue stay there for the next start."""
        await self.stock.library.downloads.close()
        await self.worker.stop()
        if self._follower is not None:
            await self._follower
        self.jobs.interrupt_running()
        self.stock.forget()
        self._stopped = True
        self._bells.ring_all()

    async def submit(self, request: GenerationRequest, user: User, key: str | None = None) -> str:
        """The id of a new job; with a `key` that the user sent before, that of the job of then.

        What the output cache knows is done at once, and needs neither the worker nor room in the queue.

        Raises InvalidRequest, QueueFull, TooManyJobs, TooManyRequests, KeyReused and WorkerUnavailable.
        """
        if (known := self._keyed(request, user, key)) is not None:
            return known
        self._check_worker()
        self.count(user)
        if request.init_image is not None and not self.belongings.owns_input(user.id, request.init_image):
            raise InvalidRequest("init_image", "is not known here")
        asked = request
        request, model, adapters = await asyncio.to_thread(self._checked, asked)
        if (known := self._keyed(asked, user, key)) is not None:
            return known
        self._check_worker()  # It may have gone meanwhile.
        made = self._cache.found(user.id, request, model, adapters) if asked.seed is not None else None
        if made is None:
            self._check_room(user)
        job = self.jobs.add(request, user.id)
        if key is not None:
            self.belongings.add_key(user.id, key, asked.model_dump_json(), job.id)
        if made is not None:
            self._answer(job, made)
            return job.id
        self._queue_moved()
        self._record(job.id, self._place(job.id))
        self._dispatch()
        return job.id

    def count(self, user: User) -> None:
        """One more request that costs something. Raises TooManyRequests."""
        self._minute.count(user.id)

    def job(self, job_id: str, user: User) -> Job:
        """Raises UnknownJob, also for that of somebody else."""
        job = self.jobs.get(job_id)
        if job.owner != user.id:
            raise UnknownJob(job_id)
        return job

    async def events(
        self, job_id: str, user: User, after: int = 0, previews: bool = False
    ) -> AsyncGenerator[Event, None]:
        """The events of a job after number `after`, and those to come; the last one ends it. Raises UnknownJob.

        While the job waits, its place is told again whenever it changes. Who wants previews and is slow to look gets
        the latest only.
        """
        place: Event | None = None
        self.job(job_id, user)
        with self._watching(job_id, previews):
            while True:
                events = self.jobs.events(job_id, after) or self._moved(job_id, place, after)
                for event in latest(events) if previews else events:
                    after, place = event.seq, event
                    yield self._previewed(job_id, event) if previews else event
                    if isinstance(event, LAST_EVENTS):
                        return
                if self._stopped:
                    return
                if not events:
                    await self._bells.heard(job_id)

    def latest(self, job_id: str, user: User) -> Event:
        """The last event of a job so far, with the latest preview if there is one. Raises UnknownJob."""
        job = self.job(job_id, user)
        if job.state == "queued":
            return self._place(job_id)
        event, seen = self.jobs.last(job_id), self._previews.get(job_id)
        return event.model_copy(update={"preview": seen.preview}) if seen and isinstance(event, Progress) else event

    async def cancel(self, job_id: str, user: User) -> None:
        """Takes a job out of the queue, or ends it at its next step; too late is no error. Raises UnknownJob."""
        job = self.job(job_id, user)
        if self._stopped:
            return
        if job.state == "queued":
            self._record(job_id, Cancelled())
            self._queue_moved()
        elif job.state == "running":
            self.worker.cancel(job_id)

    async def add_input(self, source: Path | bytes, user: User) -> str:
        """Stores a picture to start from, and tells its id. Raises InvalidRequest and TooManyRequests."""
        self._inputs.count(user.id)
        image_id = await asyncio.to_thread(self.images.add_input, source)
        self.belongings.add_input(user.id, image_id)
        return image_id

    def picture(self, picture_id: str, user: User) -> Path:
        """The file of a finished picture. Raises UnknownPicture, also for that of somebody else."""
        file = self.images.path(picture_id)
        if not self.belongings.owns_picture(user.id, picture_id) or not file.exists():
            raise UnknownPicture(picture_id)
        return file

    def input(self, image_id: str, user: User) -> Path:
        """The file of a picture that somebody brought. Raises UnknownPicture."""
        file = self.images.input_path(image_id)
        if not self.belongings.owns_input(user.id, image_id) or not file.exists():
            raise UnknownPicture(image_id)
        return file

    async def generate(self, request: GenerationRequest, user: User, previews: bool = False) -> AsyncGenerator[Event]:
        """Submits, and watches; when the watcher leaves early, the job is cancelled."""
        job_id = await self.submit(request, user)
        async with aclosing(self.follow(job_id, user, previews)) as events:
            async for event in events:
                yield event

    async def follow(
        self, job_id: str, user: User, previews: bool = False, keep: bool = False
    ) -> AsyncGenerator[Event]:
        """The events of a job that is made for this watcher: without him it is cancelled, unless it is to `keep`."""
        try:
            async with aclosing(self.events(job_id, user, previews=previews)) as events:
                async for event in events:
                    yield event
        finally:
            if not keep:
                await self.cancel(job_id, user)

    def _keyed(self, request: GenerationRequest, user: User, key: str | None) -> str | None:
        """The job that a key stands for already, unless that failed: then it is tried once more. Raises KeyReused."""
        known = self.belongings.keyed(user.id, key) if key is not None else None
        if known is None:
            return None
        if GenerationRequest.model_validate_json(known[0]) != request:
            raise KeyReused
        if key is not None and self.jobs.get(known[1]).state == "failed":
            self.belongings.drop_key(user.id, key)
            return None
        return known[1]

    def _check_room(self, user: User) -> None:
        """Raises QueueFull and TooManyJobs."""
        waiting, seconds = len(self.jobs.queue()), self.jobs.usual_seconds()
        if waiting >= self.settings.max_queued:
            raise QueueFull(waiting, retry_after=round(waiting * seconds) + 1)
        mine = sum(job.state == "queued" for job in self.jobs.unfinished(user.id))
        if mine >= self.settings.queued_per_user:
            raise TooManyJobs(waiting=mine, most=self.settings.queued_per_user, retry_after=round(seconds) + 1)

    def _check_worker(self) -> None:
        """Raises WorkerUnavailable when no job will be run any more."""
        if self._stopped:
            raise WorkerUnavailable("the studio stops.")
        if self._state == "unavailable":
            raise WorkerUnavailable(self._trouble)

    def _checked(self, request: GenerationRequest) -> tuple[GenerationRequest, ModelSource, tuple[AdapterSource, ...]]:
        """The request with nothing left open, and all that it is made with. Raises InvalidRequest."""
        model, source = self.stock.model(request.model)
        request = resolved(request, model, secrets.randbelow(SEED_LIMIT + 1))
        adapters = self.stock.outfit(request, model)
        return with_adapters(request, model, adapters), source, adapters

    def _answer(self, job: Job, made: Result) -> None:
        """Ends a job with pictures that were there already. Whoever watches sees it begin and end."""
        self._running[job.id] = job
        for event in (Queued(position=0), Started(), made):
            self._record(job.id, event)

    async def _until_ready(self) -> None:
        """Raises WorkerUnavailable."""
        while self._state == "warming up" and not self._stopped:
            await self._bells.heard(WORKER)
        self._check_worker()

    @contextmanager
    def _watching(self, job_id: str, previews: bool) -> Iterator[None]:
        if not previews:
            yield
            return
        self._count_watcher(job_id, 1)
        try:
            yield
        finally:
            self._count_watcher(job_id, -1)

    def _count_watcher(self, job_id: str, change: int) -> None:
        before = self._preview_watchers[job_id] > 0
        self._preview_watchers[job_id] += change
        wanted = self._preview_watchers[job_id] > 0
        if not wanted:
            del self._preview_watchers[job_id]
        if wanted != before and job_id in self._running:
            self.worker.set_previews(job_id, wanted)

    def _previewed(self, job_id: str, event: Event) -> Event:
        latest = self._previews.get(job_id)
        return latest if latest is not None and latest.seq == event.seq else event

    def _moved(self, job_id: str, place: Event | None, seq: int) -> list[Event]:
        """Where a job waits, when that is not what was told last."""
        if job_id in self._running or self.jobs.get(job_id).state != "queued":
            return []
        now = self._place(job_id, seq)
        return [now] if now != place else []

    def _place(self, job_id: str, seq: int = 0) -> Queued:
        if self._queue is None:
            self._queue = {waiting: place for place, waiting in enumerate(self.jobs.queue())}
        position = self._queue.get(job_id, 0)
        return Queued(seq=seq, position=position, warming_up=self._state == "warming up")

    async def _follow_worker(self) -> None:
        async for report in self.worker.reports():
            match report:
                case WorkerReady():
                    self._state, self._cache.maker = "ready", report
                    logger.info("Ready", extra={"action": "worker_ready", **report.model_dump(exclude={"type"})})
                case WorkerGone(reason=None):
                    self._state = "warming up"
                    self.stock.forget()
                case WorkerGone(reason=str(reason)):
                    self._state, self._trouble = "unavailable", reason
                    self.stock.forget()
                    self._fail_queue(WorkerUnavailable(reason))
                case JobEvent():
                    self._record(report.job_id, report.event)
                case Held() | Warmed():
                    self.stock.note(report)
            if isinstance(report, WorkerGone):
                self._cache.maker = None
            if isinstance(report, WorkerReady | WorkerGone):
                self._bells.ring(WORKER)
                self._queue_moved()
            self._dispatch()

    def _dispatch(self) -> None:
        """Starts the next jobs, as far as the worker has room. One whose model is gone by now has failed."""
        while self._state == "ready" and len(self._running) < self.settings.max_running:
            job = self.jobs.start_next(self.settings.running_per_user)
            if job is None:
                return
            self._running[job.id] = job
            self._record(job.id, Started())
            self._queue_moved()
            try:
                run = self._run(job)
                self._cache.begin(run)
                self.worker.submit(run)
            except ImageGenError as error:
                self._record(job.id, Failed(code=error.code, message=str(error)))
            except Exception:  # Whatever it is, the next job must get its turn.
                logger.exception("A job could not be started", extra={"action": "start_failed", "job_id": job.id})
                self._record(job.id, Failed(code=JobFailed.code, message=str(JobFailed())))

    def _run(self, job: Job) -> Run:
        """Raises InvalidRequest."""
        _, source = self.stock.model(job.request.model)
        wanted = self._preview_watchers[job.id] > 0
        adapters = self.stock.adapters(job.request)
        return Run(job_id=job.id, request=job.request, model=source, adapters=adapters, previews=wanted)

    def _record(self, job_id: str, event: Event) -> None:
        if isinstance(event, Result):  # First whose they are: then there is never one that is nobody's.
            self.belongings.add_pictures(self.jobs.get(job_id).owner, (picture.id for picture in event.pictures))
        event = self.jobs.append(job_id, event)
        if isinstance(event, Progress) and event.preview is not None:
            self._previews[job_id] = event
        if isinstance(event, LAST_EVENTS):
            self._previews.pop(job_id, None)
            if job_id in self._running:
                self._ended(self._running.pop(job_id), event)
        self._bells.ring(job_id)

    def _ended(self, job: Job, event: Result | Failed | Cancelled) -> None:
        self._cache.end(job, isinstance(event, Result))
        match event:
            case Result():
                generation_finished(logger, job.request, event, job.id)
            case Failed():
                logger.error(event.message, extra={"action": "generation_failed", "job_id": job.id, "code": event.code})
            case Cancelled():
                logger.info("Generation cancelled", extra={"action": "generation_cancelled", "job_id": job.id})

    def _fail_queue(self, error: ImageGenError) -> None:
        for job_id in self.jobs.queue():
            self._record(job_id, Failed(code=error.code, message=str(error)))

    def _queue_moved(self) -> None:
        """Those who wait look again for their place."""
        self._queue = None
        self._bells.ring_all(lambda name: name not in self._running and name != WORKER)


def latest(events: Sequence[Event]) -> list[Event]:
    """Without the progress that is no longer news."""
    last = len(events) - 1
    return [event for place, event in enumerate(events) if place == last or not isinstance(event, Progress)]
