"""Every worker keeps the same promises; the one in a child process also survives its engine's death."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imagegen.images import ImageStore
from imagegen.schema import LAST_EVENTS, Cancelled, Event, Failed, GenerationRequest, Progress, Result
from imagegen.validation import resolved
from imagegen.workers.base import Worker
from imagegen.workers.inline import InlineWorker
from imagegen.workers.local import LocalWorker
from imagegen.workers.messages import Held, JobEvent, Load, Report, Run, Warmed, WorkerGone, WorkerReady
from tests.integration.conftest import EMBEDDED, INFO


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return Load(model=EMBEDDED, data_dir=tmp_path, device="cpu", log_format="text")


class Watched:
    """A worker with its reports, read one after another."""

    def __init__(self, worker: Worker, load: Load) -> None:
        self.worker, self.load = worker, load
        self.reports = worker.reports()

    async def next(self, kind: type[Report]) -> Report:
        async for report in self.reports:
            if isinstance(report, kind):
                return report
        raise EOFError

    def submit(self, job_id: str, previews: bool = False, **fields: object) -> None:
        request = GenerationRequest.model_validate({"prompt": "a red circle", "steps": 3, **fields})
        self.worker.submit(
            Run(job_id=job_id, request=resolved(request, INFO, seed=1), model=EMBEDDED, previews=previews)
        )

    async def events(self, job_id: str) -> AsyncIterator[Event]:
        """All of the job, and nothing of any other. What the worker says of its memory comes in between."""
        async for report in self.reports:
            if isinstance(report, Held):
                continue
            assert isinstance(report, JobEvent)
            assert report.job_id == job_id
            yield report.event
            if isinstance(report.event, LAST_EVENTS):
                return

    async def last(self, job_id: str) -> Event:
        return [event async for event in self.events(job_id)][-1]


@pytest.fixture(params=[LocalWorker, InlineWorker])
async def ready(request: pytest.FixtureRequest, load: Load) -> AsyncIterator[Watched]:
    watched = Watched(request.param(load), load)
    await watched.worker.start()
    await watched.next(WorkerReady)
    yield watched
    await watched.worker.stop()


async def test_a_job_ends_with_stored_pictures(ready: Watched) -> None:
    ready.submit("one", batch_size=2)
    events = [event async for event in ready.events("one")]
    assert [event.step for event in events if isinstance(event, Progress)] == [1, 2, 3]
    assert isinstance(events[-1], Result)
    store = ImageStore(ready.load.data_dir)
    assert [picture.receipt.seed for picture in events[-1].pictures] == [1, 2]
    assert all(store.path(picture.id).read_bytes().startswith(b"\x89PNG") for picture in events[-1].pictures)


async def test_previews_come_when_they_are_wanted(ready: Watched) -> None:
    ready.submit("without")
    assert not any(isinstance(e, Progress) and e.preview for e in [e async for e in ready.events("without")])
    ready.submit("with", previews=True)
    assert any(isinstance(e, Progress) and e.preview for e in [e async for e in ready.events("with")])


async def test_a_cancelled_job_ends_soon_and_the_next_runs(ready: Watched) -> None:
    ready.submit("long", steps=150)
    steps = 0
    async for event in ready.events("long"):
        steps += isinstance(event, Progress)
        if steps == 2:
            ready.worker.cancel("long")
    assert isinstance(event, Cancelled)
    assert steps < 10
    ready.submit("next")
    assert isinstance(await ready.last("next"), Result)


async def test_a_job_that_fails_does_not_stop_the_next(ready: Watched) -> None:
    ready.submit("bad", init_image="0" * 64)
    failed = await ready.last("bad")
    assert isinstance(failed, Failed)
    assert "Traceback" not in failed.message and "\n" not in failed.message
    ready.submit("good")
    assert isinstance(await ready.last("good"), Result)


async def test_a_killed_engine_ends_its_job_and_comes_back(load: Load) -> None:
    worker = LocalWorker(load)
    watched = Watched(worker, load)
    await worker.start()
    await watched.next(WorkerReady)
    watched.submit("victim", steps=150)
    await watched.next(JobEvent)
    assert worker.process is not None
    os.kill(worker.process.pid, signal.SIGKILL)
    gone = await watched.next(WorkerGone)
    assert gone == WorkerGone()
    ended = await watched.next(JobEvent)
    assert isinstance(ended, JobEvent) and isinstance(ended.event, Failed)
    assert ended.event.code == "worker_died"
    await watched.next(WorkerReady)
    watched.submit("survivor")
    assert isinstance(await watched.last("survivor"), Result)
    await worker.stop()


@pytest.mark.parametrize("kind", [LocalWorker, InlineWorker])
async def test_a_model_that_is_not_there_is_told_and_not_tried_for_ever(kind: type[LocalWorker], load: Load) -> None:
    nowhere = load.model.model_copy(update={"path": load.data_dir / "nowhere"})
    missing = load.model_copy(update={"model": nowhere})
    watched = Watched(kind(missing), missing)
    await watched.worker.start()
    gone = await asyncio.wait_for(watched.next(WorkerGone), 120)
    assert isinstance(gone, WorkerGone) and gone.reason
    await watched.worker.stop()


async def test_the_child_ends_with_its_parent(load: Load) -> None:
    worker = LocalWorker(load)
    watched = Watched(worker, load)
    await worker.start()
    await watched.next(WorkerReady)
    watched.submit("running", steps=150)
    await worker.stop()
    assert worker.process is not None
    assert worker.process.returncode == 0


async def test_a_model_is_warmed_and_released_and_that_is_told(ready: Watched) -> None:
    other = EMBEDDED.model_copy(update={"id": "other"})
    ready.worker.warm(other)
    assert await ready.next(Warmed) == Warmed(model_id="other")
    ready.worker.release("other")
    held = await ready.next(Held)
    while isinstance(held, Held) and "other" in held.models:
        held = await ready.next(Held)
    assert isinstance(held, Held) and held.models == ("embedded",)
    assert held.memory["cpu"] > 1e6


async def test_a_model_that_cannot_be_warmed_is_told_and_the_next_job_runs(ready: Watched) -> None:
    broken = EMBEDDED.model_copy(update={"id": "broken", "path": ready.load.data_dir / "nowhere"})
    ready.worker.warm(broken)
    warmed = await ready.next(Warmed)
    assert isinstance(warmed, Warmed) and (warmed.model_id, warmed.code) == ("broken", "model_broken")
    assert warmed.message and "\n" not in warmed.message and "Traceback" not in warmed.message
    ready.submit("good")
    assert isinstance(await ready.last("good"), Result)
