"""The one service behind every API: submits jobs, follows and cancels them, and gives access to pictures."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio

from imagegen.disconnects import ConnectionCheck, until_disconnected
from imagegen.errors import (
    ImageGenError,
    InvalidRequest,
    NothingToKeep,
    StudioStopping,
    UnknownJob,
    UnknownPicture,
)
from imagegen.jobs.admission import Admission
from imagegen.jobs.cleaner import StorageCleaner, StorageLimits
from imagegen.jobs.dispatcher import Dispatcher
from imagegen.jobs.event_log import EventLog
from imagegen.jobs.output_cache import OutputCache
from imagegen.jobs.queue import JobQueue
from imagegen.jobs.sources import resolve_request
from imagegen.jobs.submission import Submission
from imagegen.jobs.worker_monitor import WorkerMonitor
from imagegen.jobs.worker_scheduler import WorkerScheduler
from imagegen.library.library import Library
from imagegen.logs import log_generation
from imagegen.media.base64_images import decode_base64_image
from imagegen.media.inputs import has_mode
from imagegen.media.masks import check_mask
from imagegen.model_manager import ModelManager
from imagegen.pictures import PictureLibrary
from imagegen.rate_limit import RateLimiter
from imagegen.schema.base import User
from imagegen.schema.events import Cancelled, Event, Failed, Loading, Progress, Queued, Result, Started
from imagegen.schema.input_images import get_image_mode, get_input_images
from imagegen.schema.outpainting import check_extension
from imagegen.schema.receipt import RequestedAs
from imagegen.schema.request import REQUIRES, GenerationRequest
from imagegen.schema.sizes import scale_size
from imagegen.schema.tasks import TASKS
from imagegen.settings import Settings
from imagegen.storage.disk_space import DiskSpace
from imagegen.storage.files import ImageStore
from imagegen.storage.jobs import Job, JobSources
from imagegen.storage.storage import Storage
from imagegen.supervision import run_to_end, supervise
from imagegen.users import UserAdministration
from imagegen.workers.base import Worker, WorkerState
from imagegen.workers.model_memory import ModelMemory
from imagegen.workers.registry import WorkerRegistry

logger = logging.getLogger(__name__)

PICTURE_ID_PATTERN = re.compile(r"[0-9a-f]{32}")
INPUT_ID_PATTERN = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Readiness:
    """Whether a job would run now. `problems` are sentences."""

    status: WorkerState | Literal["draining", "degraded"]
    problems: tuple[str, ...] = ()


class Service:
    """Checks requests and users; the dispatcher runs the jobs, and the event log has their events.

    Everything happens on one event loop: the one that `start` was called on. A job belongs to the user who submitted
    it: other users get UnknownJob and UnknownPicture, as if it did not exist.
    """

    def __init__(
        self, settings: Settings, library: Library, storage: Storage, images: ImageStore, worker: Worker
    ) -> None:
        self.settings, self.storage, self.images = settings, storage, images
        limits = StorageLimits.from_settings(settings)
        self.pictures = PictureLibrary(storage, images, limits, settings.file_name_pattern)
        self.workers, self.queue = WorkerRegistry(worker.names), JobQueue()
        self.disk_space = DiskSpace(settings.data_dir, settings.min_free_gb)
        self._monitor = WorkerMonitor(self.workers)
        self.model_manager = ModelManager(library, ModelMemory(worker, self.workers, self._monitor.wait_until_ready))
        self.resources = self.model_manager.resources
        scheduler = WorkerScheduler(self.workers, settings.max_running)
        self._admission = Admission(self.queue, settings, scheduler.count_room)
        self._key_lock = asyncio.Lock()
        self._output_cache = OutputCache(storage, images, self.workers, settings.output_cache)
        self._event_log = EventLog(storage, self.queue, self._monitor)
        self._dispatcher = Dispatcher(
            settings, self._event_log, worker, scheduler, self.model_manager, self._output_cache
        )
        is_open = settings.access_mode == "open"
        self.users = UserAdministration(self._event_log, self._dispatcher, images, is_open=is_open)
        self._job_limiter = RateLimiter(settings.requests_per_minute)
        self._upload_limiter = RateLimiter(settings.requests_per_minute)
        self.cleaner = StorageCleaner(storage, images, limits, settings.data_dir / "compiled")
        self._cleaning: asyncio.Task[None] | None = None

    @property
    def worker_state(self) -> WorkerState:
        """Ready when any worker is ready; unavailable when all of them are."""
        return self.workers.state

    @property
    def worker_states(self) -> dict[str, WorkerState]:
        """The state of each worker, by its name."""
        return self.workers.states

    async def get_readiness(self) -> Readiness:
        """Returns whether a job would run now, and what is wrong otherwise."""
        if self._monitor.is_draining:
            return Readiness("draining", (str(StudioStopping()),))
        full_disk = await asyncio.to_thread(self.disk_space.find_problem)
        problems = tuple(str(error) for error in (self.storage.problem, full_disk) if error is not None)
        if problems:
            return Readiness("degraded", problems)
        return Readiness(self.worker_state, (self.workers.problem,) if self.workers.problem else ())

    async def start(self) -> None:
        """Starts the worker and returns at once, before its model is loaded. Queued jobs run when it is ready.

        Raises StorageUnavailable.
        """
        await self._dispatcher.start()
        self._cleaning = asyncio.create_task(supervise("cleaner", self.cleaner.run))

    async def drain(self) -> None:
        """Accepts and starts no more jobs, and returns when those that run have ended."""
        self._monitor.drain()
        await self._dispatcher.drain()

    async def stop(self) -> None:
        """Stops the worker and downloads, and ends `events` for all. Queued jobs stay for the next start."""
        self._monitor.drain()
        await self.model_manager.library.downloads.close()
        await self._dispatcher.stop()
        if self._cleaning is not None:
            self._cleaning.cancel()
        self._monitor.stop()
        self._event_log.close()

    async def submit(
        self,
        request: GenerationRequest,
        user: User,
        idempotency_key: str | None = None,
        requested: RequestedAs | None = None,
    ) -> str:
        """Stores a job and returns its id; for an idempotency key that the user sent before, the id of that job.

        A request that the output cache knows is done at once, and needs no room in the queue. The receipts say what
        was `requested`.

        Raises InvalidRequest, QueueFull, TooManyJobs, TooManyRequests, IdempotencyKeyReused, WorkerUnavailable,
        StudioStopping, StorageUnavailable and StorageFull.
        """
        submission = Submission(user.id, request, idempotency_key)
        if (earlier_id := await self._find_earlier_job(submission)) is not None:
            return earlier_id
        self._check_health()
        self._job_limiter.check(user.id)
        await self._check_input_images(request, user)
        filled_in, sources = await asyncio.to_thread(self._resolve_request, request, requested)
        self._check_health()  # The worker may have gone while the thread ran.
        self.count_request(user)
        is_repeatable = request.seed is not None or not TASKS[request.task].paints
        cached = await self._output_cache.find(user.id, filled_in, sources) if is_repeatable else None
        return await run_to_end(self._store_job(submission, filled_in, sources, cached))

    def count_request(self, user: User) -> None:
        """Counts a request against the user's limit per minute. Raises TooManyRequests.

        `submit` counts valid requests. Invalid ones are counted by the doors, see `count_invalid_request`.
        """
        self._job_limiter.consume(user.id)

    @contextmanager
    def count_invalid_request(self, user: User) -> Iterator[None]:
        """Counts a request if InvalidRequest is raised inside. Raises TooManyRequests instead of it at the limit."""
        try:
            yield
        except InvalidRequest:
            self.count_request(user)
            raise

    async def get_job(self, job_id: str, user: User) -> Job:
        """Raises UnknownJob and StorageUnavailable."""
        job = await self.storage.read(lambda tables: tables.jobs.get(job_id))
        if job.owner != user.id:
            raise UnknownJob(job_id)
        return job

    async def list_jobs(self, user: User, limit: int, after: str | None = None) -> list[tuple[Job, Event]]:
        """Returns jobs of a user, the newest first, those before the job `after`; each with its latest event.

        Raises UnknownJob and StorageUnavailable.
        """
        jobs = await self.storage.read(lambda tables: tables.jobs.list_newest(user.id, limit, after))
        return [(job, self._event_log.complete_latest(job, last)) for job, last in jobs]

    async def list_unfinished_jobs(self, user: User) -> list[Job]:
        """Returns the running and queued jobs of a user, the oldest first. Raises StorageUnavailable."""
        return await self.storage.read(lambda tables: tables.jobs.list_unfinished(user.id))

    async def get_model_choice(self, user: User) -> str:
        """Returns the id of the model for the requests of a user that name none. Raises StorageUnavailable."""
        choice = await self.storage.read(lambda tables: tables.ownership.get_model_choice(user.id))
        return choice or self.model_manager.library.models.default_id

    async def set_model_choice(self, model_id: str, user: User) -> None:
        """Raises StorageUnavailable."""
        await self.storage.write(lambda tables: tables.ownership.set_model_choice(user.id, model_id))

    async def events(
        self, job_id: str, user: User, after: int = 0, previews: bool = False
    ) -> AsyncGenerator[Event, None]:
        """Yields the events of a job after number `after`, and new ones until the final one. Raises UnknownJob.

        While the job is queued, yields its position whenever that changes. With `previews`, a slow reader gets the
        latest progress only.
        """
        await self.get_job(job_id, user)
        with self._dispatcher.watch_previews(job_id) if previews else nullcontext():
            async with aclosing(self._event_log.follow(job_id, after, previews)) as events:
                async for event in events:
                    yield event

    async def has_ended(self, job_id: str, user: User, after: int) -> bool:
        """Returns whether no event of a job follows number `after`. Raises UnknownJob and StorageUnavailable."""
        await self.get_job(job_id, user)
        return await self._event_log.has_ended(job_id, after)

    async def get_latest_event(self, job_id: str, user: User) -> Event:
        """Returns the last event of a job so far, with the latest preview if there is one. Raises UnknownJob."""
        return await self._event_log.get_latest(await self.get_job(job_id, user))

    async def cancel(self, job_id: str, user: User) -> None:
        """Removes a job from the queue, or ends it at its next step; does nothing to a finished one.

        Raises UnknownJob.
        """
        await self.get_job(job_id, user)
        if not self._monitor.is_stopped:
            await run_to_end(self._dispatcher.cancel(job_id))

    async def finish_early(self, job_id: str, user: User) -> None:
        """Ends a running job after its next step, with the pictures as they are then; does nothing to one that is done.

        The job ends with a Result, whose receipts have `unfinished_at_step`. A cancel after this has no effect. Raises
        UnknownJob, StorageUnavailable, and NothingToKeep for a job without a step.
        """
        match await self.get_latest_event(job_id, user):
            case Progress() if not TASKS[(await self.get_job(job_id, user)).request.task].paints:
                raise NothingToKeep("a picture that is made larger has no half-finished state")
            case Progress():
                self._dispatcher.finish_early(job_id)
            case Queued():
                raise NothingToKeep("it is still in the queue")
            case Started() | Loading():
                raise NothingToKeep("its first step is not done yet")
            case Failed() | Cancelled():
                raise NothingToKeep("it has ended without one")

    async def add_input(self, source: Path | bytes, user: User, field: str) -> str:
        """Stores a picture for a field of a request, and returns its id. Raises InvalidRequest, TooManyRequests."""
        self._upload_limiter.consume(user.id)
        image_id = await asyncio.to_thread(self.images.add_input, source, field)
        await self.storage.write(lambda tables: tables.ownership.add_input(user.id, image_id))
        if not self.images.input_path(image_id).exists():  # It was there already, and its only owner was purged.
            await asyncio.to_thread(self.images.add_input, source, field)
        return image_id

    async def add_encoded_input(self, text: str, user: User, field: str) -> str:
        """Stores a picture for a field of a request, and returns its id. Raises InvalidRequest and TooManyRequests.

        `text` is the picture in base64 or as a data URI, or the id of a picture or an input picture of the user.
        """
        file = await self._find_own_picture(text, user, field)
        if file is not None:
            return await self.add_input(file, user, field)
        return await self.add_input(await asyncio.to_thread(decode_base64_image, text, field), user, field)

    async def read_encoded_picture(self, text: str, user: User, field: str) -> bytes:
        """Returns the file of a picture, which is not stored. Raises InvalidRequest and TooManyRequests.

        `text` is the picture in base64 or as a data URI, or the id of a picture or an input picture of the user.
        """
        self._upload_limiter.consume(user.id)
        file = await self._find_own_picture(text, user, field)
        if file is not None:
            return await asyncio.to_thread(file.read_bytes)
        return await asyncio.to_thread(decode_base64_image, text, field)

    async def reuse_input(self, image_id: str, user: User, field: str) -> str:
        """Returns the id of an input picture of the user in the mode that `field` needs. Raises UnknownPicture."""
        file = await self.get_input_path(image_id, user)
        is_usable = await asyncio.to_thread(has_mode, file, get_image_mode(field))
        return image_id if is_usable else await self.add_input(file, user, field)

    async def get_input_path(self, image_id: str, user: User) -> Path:
        """Returns the file of an input picture. Raises UnknownPicture and StorageUnavailable."""
        file = self.images.input_path(image_id)
        is_known = await self.storage.read(
            lambda tables: tables.ownership.owns_input(user.id, image_id) and file.exists()
        )
        if not is_known:
            raise UnknownPicture(image_id)
        return file

    async def generate(
        self,
        request: GenerationRequest,
        user: User,
        previews: bool = False,
        is_connected: ConnectionCheck | None = None,
    ) -> AsyncGenerator[Event]:
        """Submits a job and yields its events, as `follow` does. Raises what `submit` raises."""
        job_id = await self._submit_unless_cancelled(request, user)
        async with aclosing(self.follow(job_id, user, previews, is_connected=is_connected)) as events:
            async for event in events:
                yield event

    async def follow(
        self,
        job_id: str,
        user: User,
        previews: bool = False,
        keep_running: bool = False,
        is_connected: ConnectionCheck | None = None,
    ) -> AsyncGenerator[Event]:
        """Yields the events of a job until its last, or until `is_connected` returns False. Raises UnknownJob.

        Then, and when the generator is closed, cancels the job, unless `keep_running`.
        """
        all_events = self.events(job_id, user, previews=previews)
        connected_events = until_disconnected(all_events, is_connected) if is_connected is not None else all_events
        try:
            async with aclosing(connected_events) as events:
                async for event in events:
                    yield event
        finally:
            if not keep_running:
                # A caller in a cancelled scope of anyio could not wait for anything else, and one that is cancelled
                # again, such as by a socket that closes while it is written to, would leave the job running.
                with anyio.CancelScope(shield=True):
                    await run_to_end(self.cancel(job_id, user))

    async def _submit_unless_cancelled(self, request: GenerationRequest, user: User) -> str:
        """Submits a job and returns its id. If the caller is cancelled meanwhile, the job is cancelled too."""
        submission = asyncio.create_task(self.submit(request, user))
        try:
            return await asyncio.shield(submission)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True), suppress(ImageGenError):
                await run_to_end(self._cancel_submission(submission, user))
            raise

    async def _cancel_submission(self, submission: asyncio.Task[str], user: User) -> None:
        """Raises what `submit` and `cancel` raise."""
        await self.cancel(await submission, user)

    def _resolve_request(
        self, request: GenerationRequest, requested: RequestedAs | None
    ) -> tuple[GenerationRequest, JobSources]:
        """Raises StorageFull and InvalidRequest. Reads files."""
        self.disk_space.check()
        start_size = self.images.get_input_size(request.init_image) if request.init_image else None
        if request.task == "outpainting" and start_size is not None:
            check_extension(request, start_size)
        filled_in, sources = resolve_request(self.model_manager, request, requested, start_size)
        self._check_upscaled_size(filled_in)
        return filled_in, sources

    def _check_upscaled_size(self, request: GenerationRequest) -> None:
        """Raises InvalidRequest for a picture that an upscaler would make too large. Reads the input picture's size."""
        if not request.is_upscaled:
            return
        size = self.images.get_input_size(request.image) if request.image is not None else request.painted_size
        width, height = scale_size(size, request.scale)
        limit = self.settings.max_megapixels
        if width * height > limit * 1e6:
            problem = f"gives {width} x {height} pixels; at most {limit:g} million are allowed"
            raise InvalidRequest("scale", problem)

    async def _find_earlier_job(self, submission: Submission) -> str | None:
        """Returns the id of the job with the same idempotency key, None for a new key and without one.

        Raises IdempotencyKeyReused and StorageUnavailable.
        """
        if submission.idempotency_key is None:
            return None
        return await self.storage.read(submission.find_earlier_job)

    async def _store_job(
        self, submission: Submission, request: GenerationRequest, sources: JobSources, cached: Result | None
    ) -> str:
        """Stores a job, which is done already if its result is `cached`, and returns its id.

        Raises QueueFull, TooManyJobs, IdempotencyKeyReused and StorageUnavailable.
        """
        # Requests with the same key come one after another here, and become one job.
        async with self._key_lock if submission.idempotency_key is not None else nullcontext():
            if (earlier_id := await self._find_earlier_job(submission)) is not None:
                return earlier_id
            if cached is not None:
                return await self._store_cached_job(submission, request, sources, cached)
            return await self._store_queued_job(submission, request, sources)

    async def _store_queued_job(self, submission: Submission, request: GenerationRequest, sources: JobSources) -> str:
        """Raises QueueFull, TooManyJobs and StorageUnavailable."""
        with self._admission.admit(submission.owner):
            queued = self._event_log.build_queued_event(self.queue.predict_position(submission.owner))
            job = await self.storage.write(lambda tables: submission.store(tables, request, sources, [queued]))
            self._dispatcher.enqueue(job)
        return job.id

    async def _store_cached_job(
        self, submission: Submission, request: GenerationRequest, sources: JobSources, cached: Result
    ) -> str:
        """Raises StorageUnavailable."""
        events = (Queued(position=0), Started(), cached)
        job = await self.storage.write(lambda tables: submission.store(tables, request, sources, events))
        log_generation(logger, request, cached, job.id, self.settings.log_prompts)
        return job.id

    def _check_health(self) -> None:
        """Raises StudioStopping, WorkerUnavailable, StorageUnavailable and StorageFull."""
        self._monitor.check()
        if self.storage.problem is not None:
            # The same error is raised many times: its traceback must not grow.
            raise self.storage.problem.with_traceback(None)

    async def _find_own_picture(self, text: str, user: User, field: str) -> Path | None:
        """Returns the file of a picture of the user, or None if the text is not an id. Raises InvalidRequest."""
        try:
            if PICTURE_ID_PATTERN.fullmatch(text):
                return await self.pictures.get_path(text, user)
            return await self.get_input_path(text, user) if INPUT_ID_PATTERN.fullmatch(text) else None
        except UnknownPicture:
            raise InvalidRequest(field, "is not known here") from None

    async def _check_input_images(self, request: GenerationRequest, user: User) -> None:
        """Raises InvalidRequest for an input picture that does not belong to the user, and for an unusable mask."""
        files: dict[str, Path] = {}
        for place, image_id in get_input_images(request).items():
            try:
                files[place] = await self.get_input_path(image_id, user)
            except UnknownPicture:
                raise InvalidRequest(place, "is not known here") from None
        for field, file in files.items():
            if get_image_mode(field) == "mask":
                start_file = files[REQUIRES[field].field]
                await asyncio.to_thread(check_mask, field, file, start_file, request.mask_invert)
