"""The events of all jobs: stores them, and lets any number of watchers follow a job."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from imagegen.errors import UnknownJob
from imagegen.jobs.queue import JobQueue
from imagegen.jobs.worker_monitor import WorkerMonitor
from imagegen.notifier import Notifier
from imagegen.schema.events import FINAL_EVENTS, Event, Progress, Queued, Result
from imagegen.storage.jobs import Job
from imagegen.storage.storage import Storage, Tables


class EventLog:
    """Previews are in memory alone, the latest of each job. Positions in the queue are computed, not stored."""

    def __init__(self, storage: Storage, queue: JobQueue, monitor: WorkerMonitor) -> None:
        self.storage, self.queue, self.monitor = storage, queue, monitor
        self._notifier = Notifier()
        self._latest_previews: dict[str, Progress] = {}

    async def record(self, job_id: str, event: Event, digest: str | None = None) -> Event:
        """Stores an event, wakes the watchers of its job, and returns it with its number.

        A result is found again by its `digest` (see OutputCache). Raises StorageUnavailable.
        """
        event = await self.storage.write(lambda tables: append_event(tables, job_id, event, digest))
        if isinstance(event, Progress) and event.preview is not None:
            self._latest_previews[job_id] = event
        if isinstance(event, FINAL_EVENTS):
            self._latest_previews.pop(job_id, None)
        self.notify(job_id)
        return event

    def notify(self, job_id: str) -> None:
        """Wakes the watchers of a job. To be called when its events or its state have changed."""
        self._notifier.notify(job_id)

    def update_positions(self) -> None:
        """Wakes the watchers of queued jobs. To be called when the queue or the worker's state has changed."""
        self._notifier.notify_all(lambda job_id: job_id in self.queue)

    def close(self) -> None:
        """Wakes all watchers, whose `follow` ends when the monitor is stopped."""
        self._notifier.notify_all()

    def build_queued_event(self, position: int, seq: int = 0) -> Queued:
        return Queued(seq=seq, position=position, warming_up=self.monitor.state == "warming up")

    async def get_latest(self, job: Job) -> Event:
        """Returns the last event of a job, with the latest preview; for a queued job, its position.

        Raises StorageUnavailable.
        """
        return self.complete_latest(job, await self.storage.read(lambda tables: tables.jobs.get_last_event(job.id)))

    def complete_latest(self, job: Job, event: Event) -> Event:
        """Returns the last stored event of a job with what is not stored: the latest preview, or its position."""
        if job.id in self.queue:
            return self.build_queued_event(self.queue.get_position(job.id))
        latest_preview = self._latest_previews.get(job.id)
        if latest_preview is not None and isinstance(event, Progress):
            return event.model_copy(update={"preview": latest_preview.preview})
        return event

    async def has_ended(self, job_id: str, after: int) -> bool:
        """Returns whether no event of a job follows number `after`. Raises StorageUnavailable."""
        try:
            last_event = await self.storage.read(lambda tables: tables.jobs.get_last_event(job_id))
        except UnknownJob:  # It was removed after its end.
            return True
        return isinstance(last_event, FINAL_EVENTS) and last_event.seq <= after

    async def follow(self, job_id: str, after: int = 0, previews: bool = False) -> AsyncGenerator[Event, None]:
        """Yields the events after number `after`, and new ones until the last; while the job is queued, each position.

        With `previews`, a slow reader gets the latest progress only, with its preview. Raises StorageUnavailable.
        """
        last_event: Event | None = None
        while True:
            changed = self._notifier.get_event(job_id)
            stored_events = await self._read_events(job_id, after)
            events = stored_events or self._list_position_change(job_id, last_event, after)
            for event in drop_stale_progress(events) if previews else events:
                seen, after, last_event = after, event.seq, event
                yield self._attach_preview(job_id, event, seen) if previews else event
                if isinstance(event, FINAL_EVENTS):
                    return
            if self.monitor.is_stopped:
                return
            if not events:
                if await self.has_ended(job_id, after):
                    return
                await changed.wait()

    async def _read_events(self, job_id: str, after: int) -> list[Event]:
        return await self.storage.read(lambda tables: tables.jobs.list_events(job_id, after))

    def _attach_preview(self, job_id: str, event: Event, seen: int) -> Event:
        """Returns progress with the latest preview, if that is newer than the event number `seen`.

        It may be of an earlier step, whose progress a slow reader has missed.
        """
        latest_preview = self._latest_previews.get(job_id)
        if latest_preview is None or latest_preview.seq <= seen or not isinstance(event, Progress):
            return event
        return event.model_copy(update={"preview": latest_preview.preview})

    def _list_position_change(self, job_id: str, last_event: Event | None, seq: int) -> list[Event]:
        """Returns the position of a queued job if it differs from the last one."""
        if job_id not in self.queue:
            return []
        current = self.build_queued_event(self.queue.get_position(job_id), seq)
        return [current] if current != last_event else []


def append_event(tables: Tables, job_id: str, event: Event, digest: str | None = None) -> Event:
    """Stores an event and returns it with its number. The owner of a job gets its pictures."""
    if isinstance(event, Result):
        owner = tables.jobs.get(job_id).owner
        tables.pictures.add(owner, job_id, event.pictures)
        if digest is not None:
            tables.ownership.add_cached_job(owner, digest, job_id)
    return tables.jobs.append_event(job_id, event)


def drop_stale_progress(events: Sequence[Event]) -> list[Event]:
    """Returns the events without all progress but one at the end."""
    last_index = len(events) - 1
    return [event for index, event in enumerate(events) if index == last_index or not isinstance(event, Progress)]
