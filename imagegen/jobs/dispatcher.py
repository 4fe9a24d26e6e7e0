"""Starts queued jobs on the workers, and follows what the workers report."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from imagegen.errors import ImageGenError, JobFailed, StorageUnavailable, WorkerUnavailable
from imagegen.jobs.event_log import EventLog
from imagegen.jobs.output_cache import OutputCache
from imagegen.jobs.sources import are_current, resolve_sources
from imagegen.jobs.worker_scheduler import WorkerScheduler
from imagegen.logs import log_generation
from imagegen.model_manager import ModelManager
from imagegen.schema.events import FINAL_EVENTS, Cancelled, Event, Failed, FinalEvent, Result
from imagegen.settings import Settings
from imagegen.storage.jobs import Job, JobSources
from imagegen.supervision import Backoff, supervise
from imagegen.workers.base import Worker
from imagegen.workers.messages import JobEvent, JobOrder, Report, WorkerGone, WorkerReady

logger = logging.getLogger(__name__)


class Dispatcher:
    """Everything happens on one event loop: the one that `start` was called on.

    What is in memory changes first, and the database follows. While the database cannot be used, no job starts; the
    last events of jobs that end meanwhile are kept, and stored as soon as it can be.
    """

    def __init__(
        self,
        settings: Settings,
        event_log: EventLog,
        worker: Worker,
        scheduler: WorkerScheduler,
        model_manager: ModelManager,
        output_cache: OutputCache,
    ) -> None:
        self.settings, self.event_log, self.worker, self._scheduler = settings, event_log, worker, scheduler
        self.storage, self.queue, self.monitor = event_log.storage, event_log.queue, event_log.monitor
        self.model_manager, self.output_cache = model_manager, output_cache
        self._running: dict[str, Job] = {}
        self._preview_watchers: Counter[str] = Counter()
        # Final events that the database does not have yet, by the job's id.
        self._unsaved: dict[str, FinalEvent] = {}
        self._saving = asyncio.Lock()
        # Jobs whose files must be looked up again, and those for which this has been done.
        self._unresolved: dict[str, Job] = {}
        self._resolved_ids: set[str] = set()
        self._wake_up, self._resolve_requested = asyncio.Event(), asyncio.Event()
        self._is_draining, self._job_ended = False, asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._backoff = Backoff()
        self._loops: list[asyncio.Task[None]] = []
        self._report_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Ends the jobs that a shutdown interrupted, starts the worker, and returns before that is ready.

        Raises StorageUnavailable.
        """
        self.storage.on_problem = self.wake
        await self.storage.write(lambda tables: tables.jobs.interrupt_running())
        served_owners = await self.storage.read(lambda tables: tables.jobs.list_served_owners())
        self.queue.restore(served_owners, await self.storage.read(lambda tables: tables.jobs.list_queued()))
        await self._fail_unreadable()
        await self.worker.start()
        self._report_task = asyncio.create_task(supervise("reports", self._follow_reports))
        self._loops = [
            asyncio.create_task(supervise("dispatch", self._start_jobs)),
            asyncio.create_task(supervise("sources", self._resolve_jobs)),
        ]
        self.wake()

    async def drain(self) -> None:
        """Starts no more jobs, and returns when those that run have ended."""
        self._is_draining = True
        while self._running:
            await self._job_ended.wait()
            self._job_ended.clear()

    async def stop(self) -> None:
        """Stops the worker and ends the running jobs. Queued jobs stay in the database for the next start."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._cancel_timer()
        await self.worker.stop()
        if self._report_task is not None:
            await self._report_task
        self._cancel_timer()
        try:
            await self._save_final_events()
            await self.storage.write(lambda tables: tables.jobs.interrupt_running())
        except StorageUnavailable as error:
            logger.error("The ends of jobs could not be stored: %s", error, extra={"action": "storage_unavailable"})
        self.model_manager.memory.close()

    def wake(self) -> None:
        """Lets the dispatcher look for jobs that can start."""
        self._wake_up.set()

    def enqueue(self, job: Job) -> None:
        """Takes a new job that is stored. It starts when there is room."""
        self.queue.add(job.id, job.owner)
        self.event_log.update_positions()
        self.wake()

    async def cancel(self, job_id: str) -> None:
        """Removes a queued job, or ends a running one at its next step. Does nothing to a finished one."""
        if job_id in self.queue:
            self.queue.remove(job_id)
            self.event_log.update_positions()
            await self._end_job(job_id, Cancelled())
        elif job_id in self._running:
            self.worker.cancel(job_id)

    def finish_early(self, job_id: str) -> None:
        """Ends a running job after its next step, with the pictures as they are then."""
        if job_id in self._running:
            self.worker.finish_early(job_id)

    @contextmanager
    def watch_previews(self, job_id: str) -> Iterator[None]:
        """Asks the worker for previews of a job while any such context is open."""
        self._change_watcher_count(job_id, 1)
        try:
            yield
        finally:
            self._change_watcher_count(job_id, -1)

    def _change_watcher_count(self, job_id: str, change: int) -> None:
        was_wanted = self._preview_watchers[job_id] > 0
        self._preview_watchers[job_id] += change
        is_wanted = self._preview_watchers[job_id] > 0
        if not is_wanted:
            del self._preview_watchers[job_id]
        if is_wanted != was_wanted and job_id in self._running:
            self.worker.set_previews(job_id, is_wanted)

    async def _follow_reports(self) -> None:
        async for report in self.worker.reports():
            try:
                await self._handle_report(report)
            except Exception as error:
                logger.exception("A report could not be handled", extra={"action": "report_failed"})
                if isinstance(report, JobEvent) and report.job_id in self._running:
                    await self._fail_job(report.job_id, error)
            self.wake()

    async def _handle_report(self, report: Report) -> None:
        self.monitor.handle_report(report)
        self.model_manager.memory.handle_report(report)
        match report:
            case WorkerReady():
                logger.info("Ready", extra={"action": "worker_ready", **report.model_dump(exclude={"type"})})
            case WorkerGone() if self.monitor.state == "unavailable":
                await self._fail_queue(WorkerUnavailable(self.monitor.registry.problem))
            case JobEvent():
                await self._handle_job_event(report.job_id, report.event)
        if isinstance(report, WorkerReady | WorkerGone):
            self.event_log.update_positions()

    async def _handle_job_event(self, job_id: str, event: Event) -> None:
        if isinstance(event, FINAL_EVENTS):
            await self._end_job(job_id, event)
            return
        try:
            await self.event_log.record(job_id, event)
        except StorageUnavailable as error:
            logger.warning("Progress was not stored: %s", error, extra={"action": "storage_unavailable"})

    async def _start_jobs(self) -> None:
        """Starts jobs whenever there is something new. Tries again later while the database cannot be used."""
        while True:
            await self._wake_up.wait()
            self._wake_up.clear()
            self._cancel_timer()
            try:
                await self._save_final_events()
                await self.storage.check()
                while await self._start_next():
                    pass
                self._backoff.reset()
            except StorageUnavailable as error:
                logger.error("Jobs wait: %s", error, extra={"action": "storage_unavailable", "code": error.code})
                self._wake_later(self._backoff.take())

    async def _start_next(self) -> bool:
        """Starts the next job if there is room for it. Returns whether to look for another.

        A job that cannot start fails alone. Raises StorageUnavailable.
        """
        job_id = self.queue.find_next(self.settings.running_per_user, self._unresolved)
        if job_id is None or self._is_draining or not self._scheduler.has_room():
            return False
        try:
            job = await self.storage.read(lambda tables: tables.jobs.get(job_id))
            return await self._start_job(job)
        except StorageUnavailable:
            raise
        except Exception as error:
            self.queue.remove(job_id)
            await self._fail_job(job_id, error)
            return True

    async def _start_job(self, job: Job) -> bool:
        """Starts a queued job, or begins to look up its files. Returns False if it waits for a worker.

        Raises UnreadableJob and StorageUnavailable.
        """
        sources = await self._get_current_sources(job)
        if sources is None:
            self._unresolved[job.id] = job
            self._resolve_requested.set()
            return True
        worker = self._scheduler.choose(job.id, sources.model_id)
        if worker is None:
            self._wake_later(self._scheduler.seconds_left)
            return False
        order = JobOrder(
            job_id=job.id,
            request=job.request,
            model=sources.model,
            model_sha256=sources.model_sha256,
            adapters=sources.adapters,
            upscalers=sources.upscalers,
            requested=sources.requested,
            preview_decoder=sources.preview_decoder,
        )
        await self.storage.write(lambda tables: tables.jobs.start(job.id))
        if job.id in self.queue:  # It may have been cancelled meanwhile.
            self._submit(job, order, worker)
        return True

    async def _get_current_sources(self, job: Job) -> JobSources | None:
        """Returns the files of a job, None if they must be looked up again. Raises UnreadableJob."""
        sources = job.sources
        if sources is None or job.id in self._resolved_ids:
            return sources
        return sources if await asyncio.to_thread(are_current, sources) else None

    def _submit(self, job: Job, order: JobOrder, worker: str) -> None:
        self.queue.start(job.id)
        self._running[job.id] = job
        self.output_cache.track_job(order, worker)
        self.monitor.registry.add_job(worker, job.id, order.model.id if order.model is not None else None)
        wants_previews = self._preview_watchers[job.id] > 0
        self.worker.submit(order.model_copy(update={"wants_previews": wants_previews}), worker)
        self.event_log.notify(job.id)
        self.event_log.update_positions()

    async def _resolve_jobs(self) -> None:
        """Looks up, in a thread, the files of jobs that an older version queued, or whose files have changed."""
        while True:
            await self._resolve_requested.wait()
            self._resolve_requested.clear()
            for job in list(self._unresolved.values()):
                try:
                    await self._resolve_job(job)
                except StorageUnavailable:
                    pass  # It is found again when jobs can start again.
                except Exception as error:
                    if job.id in self.queue:
                        self.queue.remove(job.id)
                        await self._fail_job(job.id, error)
                finally:
                    del self._unresolved[job.id]
                self.wake()

    async def _resolve_job(self, job: Job) -> None:
        requested = job.sources.requested if job.sources is not None else None
        sources = await asyncio.to_thread(lambda: resolve_sources(self.model_manager, job.request, requested))
        await self.storage.write(lambda tables: tables.jobs.set_sources(job.id, sources))
        if job.id in self.queue:
            self._resolved_ids.add(job.id)

    async def _fail_job(self, job_id: str, error: Exception) -> None:
        """Ends a job with an error of the studio; any other error goes to the log, and its details only there."""
        if not isinstance(error, ImageGenError):
            logger.error("A job failed", exc_info=error, extra={"action": "job_failed", "job_id": job_id})
            error = JobFailed()
        await self._end_job(job_id, Failed(code=error.code, message=str(error)))

    async def _end_job(self, job_id: str, event: FinalEvent) -> None:
        """Ends a job that is not queued any more. Its last event is stored now or, if that cannot be, later."""
        self.monitor.registry.remove_job(job_id)
        self._resolved_ids.discard(job_id)
        self._unsaved.setdefault(job_id, event)
        try:
            await self._save_final_events()
        except StorageUnavailable as error:
            logger.error("The end of a job is not stored yet: %s", error, extra={"action": "storage_unavailable"})
            self._wake_later(self._backoff.take())

    async def _save_final_events(self) -> None:
        """Stores the final events that the database does not have yet. Raises StorageUnavailable."""
        async with self._saving:
            while self._unsaved:
                job_id, event = next(iter(self._unsaved.items()))
                stored_event = await self._save_final_event(job_id, event)
                del self._unsaved[job_id]
                self._finish(job_id, stored_event)

    async def _save_final_event(self, job_id: str, event: FinalEvent) -> Event:
        """Raises StorageUnavailable; the next attempt begins with another job then."""
        try:
            return await self.event_log.record(job_id, event, self.output_cache.get_digest(job_id, event))
        except StorageUnavailable:
            self._unsaved[job_id] = self._unsaved.pop(job_id)
            raise
        except Exception:
            logger.exception("The end of a job cannot be stored", extra={"action": "event_lost", "job_id": job_id})
            return event

    def _finish(self, job_id: str, event: Event) -> None:
        """Does what follows the end of a job: frees its place, and logs it."""
        job = self._running.pop(job_id, None)
        if job is None:
            return
        self.queue.finish(job.owner)
        self._job_ended.set()
        self.output_cache.forget_job(job_id)
        log_end(job, event, self.settings.log_prompts)

    async def _fail_queue(self, error: ImageGenError) -> None:
        for job_id in self.queue.list_queued():
            self.queue.remove(job_id)
            await self._fail_job(job_id, error)

    async def _fail_unreadable(self) -> None:
        """Ends the queued jobs that another version of the studio stored and this one cannot read."""
        for job_id, error in await self.storage.read(lambda tables: tables.jobs.find_unreadable()):
            details = {"action": "generation_failed", "job_id": job_id, "code": error.code}
            logger.error("A queued job could not be read", extra=details)
            self.queue.remove(job_id)
            await self._fail_job(job_id, error)

    def _wake_later(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.wake)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def log_end(job: Job, event: Event, log_prompts: bool) -> None:
    match event:
        case Result():
            log_generation(logger, job.request, event, job.id, log_prompts)
        case Failed():
            logger.error(event.message, extra={"action": "generation_failed", "job_id": job.id, "code": event.code})
        case Cancelled():
            logger.info("Generation cancelled", extra={"action": "generation_cancelled", "job_id": job.id})
