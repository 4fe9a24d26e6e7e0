"""The contract of all workers, and what those in child processes do when one of these dies."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image

from imagegen.schema.events import FINAL_EVENTS, Cancelled, Event, Failed, Progress, Result
from imagegen.schema.request import GenerationRequest
from imagegen.schema.validation import fill_in_defaults
from imagegen.storage.files import ImageStore
from imagegen.workers.base import Worker
from imagegen.workers.inline import InlineWorker
from imagegen.workers.local import LocalWorker
from imagegen.workers.messages import (
    JobEvent,
    JobOrder,
    ModelsInMemory,
    ModelWarmed,
    Report,
    WorkerConfig,
    WorkerGone,
    WorkerReady,
)
from imagegen.workers.pool import WorkerPool
from tests.integration.conftest import EMBEDDED, INFO


def create_pool(config: WorkerConfig) -> WorkerPool:
    """A pool of two workers on the CPU."""
    second = config.model_copy(update={"name": f"{config.name}:1"})
    return WorkerPool([LocalWorker(config), LocalWorker(second)])


PARAMETRIZE_WORKER = pytest.mark.parametrize("create", [LocalWorker, InlineWorker, create_pool])
# A worker takes seconds to start. Tests that leave it as they found it share it, and so must share its event loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")


def make_config(data_dir: Path) -> WorkerConfig:
    return WorkerConfig(name="cpu", model=EMBEDDED, data_dir=data_dir, device="cpu", log_format="text")


@pytest.fixture
def config(tmp_path: Path) -> WorkerConfig:
    return make_config(tmp_path)


class WorkerProbe:
    """A worker and its reports, read one after another. `name` is the worker that jobs and models are sent to."""

    def __init__(self, worker: Worker, config: WorkerConfig) -> None:
        self.worker, self.config, self.name = worker, config, worker.names[-1]
        self.reports = worker.reports()

    async def start(self) -> None:
        """Returns when all workers are ready."""
        await self.worker.start()
        ready = {(await self.next_report(WorkerReady)).worker for _ in self.worker.names}
        assert ready == set(self.worker.names)

    async def next_report(self, kind: type[Report]) -> Report:
        async for report in self.reports:
            if isinstance(report, kind):
                return report
        raise EOFError

    def submit(self, job_id: str, previews: bool = False, worker: str | None = None, **fields: object) -> None:
        request = GenerationRequest.model_validate({"prompt": "a red circle", "steps": 3, **fields})
        self.worker.submit(
            JobOrder(
                job_id=job_id, request=fill_in_defaults(request, INFO, seed=1), model=EMBEDDED, wants_previews=previews
            ),
            worker or self.name,
        )

    async def events(self, job_id: str) -> AsyncIterator[Event]:
        """Yields the events of a job, which must be the only job. Reports about memory may come in between."""
        async for report in self.reports:
            if isinstance(report, ModelsInMemory):
                continue
            assert isinstance(report, JobEvent)
            assert (report.worker, report.job_id) == (self.name, job_id)
            yield report.event
            if isinstance(report.event, FINAL_EVENTS):
                return

    async def last_event(self, job_id: str) -> Event:
        return [event async for event in self.events(job_id)][-1]

    async def final_events(self, *job_ids: str) -> dict[str, tuple[str, Event]]:
        """Returns the worker and the final event of each of several jobs that run side by side."""
        final: dict[str, tuple[str, Event]] = {}
        while set(final) != set(job_ids):
            report = await self.next_report(JobEvent)
            assert isinstance(report, JobEvent)
            if isinstance(report.event, FINAL_EVENTS):
                final[report.job_id] = report.worker, report.event
        return final


@asynccontextmanager
async def running_probe(create: Callable[[WorkerConfig], Worker], config: WorkerConfig) -> AsyncIterator[WorkerProbe]:
    probe = WorkerProbe(create(config), config)
    await probe.start()
    yield probe
    await probe.worker.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WorkerProbe]:
    async with running_probe(LocalWorker, make_config(tmp_path_factory.mktemp("local"))) as probe:
        yield probe


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def inline(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WorkerProbe]:
    async with running_probe(InlineWorker, make_config(tmp_path_factory.mktemp("inline"))) as probe:
        yield probe


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WorkerProbe]:
    """A pool of two workers on the CPU; jobs go to the second one unless the test names the first."""
    async with running_probe(create_pool, make_config(tmp_path_factory.mktemp("pool"))) as probe:
        yield probe


@pytest.fixture(params=["local", "inline", "pool"])
def ready(request: pytest.FixtureRequest) -> WorkerProbe:
    """Each worker in turn, when it is ready."""
    probe: WorkerProbe = request.getfixturevalue(request.param)
    return probe


async def test_a_job_ends_with_stored_pictures(ready: WorkerProbe) -> None:
    ready.submit("one", batch_size=2)
    events = [event async for event in ready.events("one")]
    assert [event.step for event in events if isinstance(event, Progress)] == [1, 2, 3]
    assert isinstance(events[-1], Result)
    store = ImageStore(ready.config.data_dir)
    assert [picture.receipt.seed for picture in events[-1].pictures] == [1, 2]
    assert all(store.picture_path(picture.id).read_bytes().startswith(b"\x89PNG") for picture in events[-1].pictures)


async def test_previews_come_when_they_are_wanted(ready: WorkerProbe) -> None:
    ready.submit("without")
    assert not any(isinstance(e, Progress) and e.preview for e in [e async for e in ready.events("without")])
    ready.submit("with", previews=True)
    assert any(isinstance(e, Progress) and e.preview for e in [e async for e in ready.events("with")])


async def test_previews_can_be_switched_on_later(ready: WorkerProbe) -> None:
    ready.submit("long", steps=50)
    previews = []
    async for event in ready.events("long"):
        ready.worker.set_previews("long", True)
        previews.append(isinstance(event, Progress) and event.preview is not None)
    assert not previews[0] and any(previews)


async def test_a_cancelled_job_ends_soon_and_the_next_runs(ready: WorkerProbe) -> None:
    ready.submit("long", steps=150)
    steps = 0
    async for event in ready.events("long"):
        steps += isinstance(event, Progress)
        if steps == 2:
            ready.worker.cancel("long")
    assert isinstance(event, Cancelled)
    assert steps < 10
    ready.submit("next")
    assert isinstance(await ready.last_event("next"), Result)


async def test_a_job_that_is_ended_early_keeps_its_picture(ready: WorkerProbe) -> None:
    ready.submit("long", steps=150)
    steps: list[int] = []
    async for event in ready.events("long"):
        if isinstance(event, Progress):
            steps.append(event.step)
        if len(steps) == 2:
            ready.worker.finish_early("long")
            ready.worker.cancel("long")
    assert isinstance(event, Result) and not event.is_finished
    (picture,) = event.pictures
    assert picture.receipt.unfinished_at_step == steps[-1] < 10
    assert ImageStore(ready.config.data_dir).picture_path(picture.id).read_bytes().startswith(b"\x89PNG")


async def test_a_job_that_fails_does_not_stop_the_next(ready: WorkerProbe) -> None:
    ready.submit("bad", init_image="0" * 64)
    failed = await ready.last_event("bad")
    assert isinstance(failed, Failed)
    assert "Traceback" not in failed.message and "\n" not in failed.message
    ready.submit("good")
    assert isinstance(await ready.last_event("good"), Result)


async def test_commands_for_a_job_that_has_ended_do_nothing(ready: WorkerProbe) -> None:
    ready.submit("one")
    await ready.last_event("one")
    ready.worker.cancel("one")
    ready.worker.finish_early("one")
    ready.worker.set_previews("one", True)
    ready.submit("next")
    assert isinstance(await ready.last_event("next"), Result)


async def test_an_unknown_name_is_refused(ready: WorkerProbe) -> None:
    with pytest.raises(KeyError):
        ready.submit("one", worker="cuda:7")
    with pytest.raises(KeyError):
        ready.worker.warm(EMBEDDED, "cuda:7", "one")
    with pytest.raises(KeyError):
        ready.worker.cancel_warm("one", "cuda:7")


@PARAMETRIZE_WORKER
async def test_a_missing_model_is_reported_and_not_retried_for_ever(
    create: Callable[[WorkerConfig], Worker], config: WorkerConfig
) -> None:
    nowhere = config.model.model_copy(update={"path": config.data_dir / "nowhere"})
    missing = config.model_copy(update={"model": nowhere})
    probe = WorkerProbe(create(missing), missing)
    await probe.worker.start()
    gone = [await asyncio.wait_for(probe.next_report(WorkerGone), 120) for _ in probe.worker.names]
    assert {report.worker for report in gone} == set(probe.worker.names)
    assert all(isinstance(report, WorkerGone) and report.reason for report in gone)
    await probe.worker.stop()


async def test_warming_and_releasing_a_model_is_reported(ready: WorkerProbe) -> None:
    other = EMBEDDED.model_copy(update={"id": "other"})
    ready.worker.warm(other, ready.name, "one")
    assert await ready.next_report(ModelWarmed) == ModelWarmed(worker=ready.name, warm_id="one")
    ready.worker.release("other")
    models_report = await ready.next_report(ModelsInMemory)
    while isinstance(models_report, ModelsInMemory) and "other" in models_report.models:
        models_report = await ready.next_report(ModelsInMemory)
    assert isinstance(models_report, ModelsInMemory)
    assert (models_report.worker, models_report.models) == (ready.name, ("embedded",))
    assert models_report.bytes_by_device["cpu"] > 1e6


async def test_a_model_that_cannot_be_warmed_is_reported_and_the_next_job_runs(ready: WorkerProbe) -> None:
    broken = EMBEDDED.model_copy(update={"id": "broken", "path": ready.config.data_dir / "nowhere"})
    ready.worker.warm(broken, ready.name, "one")
    warmed = await ready.next_report(ModelWarmed)
    assert isinstance(warmed, ModelWarmed) and (warmed.warm_id, warmed.code) == ("one", "model_broken")
    assert warmed.message and "\n" not in warmed.message and "Traceback" not in warmed.message
    ready.submit("good")
    assert isinstance(await ready.last_event("good"), Result)


async def test_a_killed_engine_ends_its_job_and_comes_back(local: WorkerProbe) -> None:
    local.submit("victim", steps=150)
    await local.next_report(JobEvent)
    kill_engine(local.worker)
    gone = await local.next_report(WorkerGone)
    assert gone == WorkerGone(worker="cpu")
    local.submit("late")
    final = await local.final_events("victim", "late")
    assert [event.code for _, event in final.values() if isinstance(event, Failed)] == ["worker_died", "worker_died"]
    await local.next_report(WorkerReady)
    local.submit("survivor")
    assert isinstance(await local.last_event("survivor"), Result)


async def test_a_hung_engine_in_the_web_process_fails_its_jobs_until_it_goes_on(
    config: WorkerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk_answers = threading.Event()

    def load_slowly(store: ImageStore, image_id: str) -> Image.Image:
        disk_answers.wait()
        return Image.new("RGB", (64, 64))

    monkeypatch.setattr(ImageStore, "load_input", load_slowly)
    async with running_probe(InlineWorker, config.model_copy(update={"step_timeout": 1.0})) as probe:
        probe.submit("hung", init_image="0" * 64)
        gone = await asyncio.wait_for(probe.next_report(WorkerGone), 60)
        assert isinstance(gone, WorkerGone) and gone.reason
        probe.submit("late")
        for job_id in ("hung", "late"):
            failed = await probe.last_event(job_id)
            assert isinstance(failed, Failed) and failed.code == "worker_hung"
        disk_answers.set()
        await asyncio.wait_for(probe.next_report(WorkerReady), 60)
        probe.submit("next")
        assert isinstance(await probe.last_event("next"), Result)


def kill_engine(worker: Worker) -> None:
    assert isinstance(worker, LocalWorker) and worker.process is not None
    os.kill(worker.process.pid, signal.SIGKILL)


async def test_the_child_ends_with_its_parent(config: WorkerConfig) -> None:
    worker = LocalWorker(config)
    probe = WorkerProbe(worker, config)
    await probe.start()
    probe.submit("running", steps=150)
    await worker.stop()
    assert worker.process is not None
    assert worker.process.returncode == 0


async def test_a_pool_runs_each_job_on_the_worker_that_it_is_sent_to(pool: WorkerProbe) -> None:
    pool.submit("first", worker="cpu")
    pool.submit("second", worker="cpu:1")
    final = await pool.final_events("first", "second")
    assert {job_id: worker for job_id, (worker, _) in final.items()} == {"first": "cpu", "second": "cpu:1"}
    assert all(isinstance(event, Result) for _, event in final.values())


async def test_a_worker_of_a_pool_that_dies_fails_its_own_jobs_only(pool: WorkerProbe) -> None:
    assert isinstance(pool.worker, WorkerPool)
    pool.submit("victim", worker="cpu", steps=150)
    pool.submit("other", worker="cpu:1", steps=40)
    await pool.next_report(JobEvent)
    kill_engine(pool.worker._workers["cpu"])
    final = await pool.final_events("victim", "other")
    failed, result = final["victim"][1], final["other"][1]
    assert isinstance(failed, Failed) and failed.code == "worker_died"
    assert isinstance(result, Result)
    assert (await pool.next_report(WorkerReady)).worker == "cpu"


async def test_a_model_is_released_on_all_workers_of_a_pool(pool: WorkerProbe) -> None:
    other = EMBEDDED.model_copy(update={"id": "other"})
    for name in pool.worker.names:
        pool.worker.warm(other, name, f"on {name}")
    holders = await collect_memory(pool, lambda holders: all("other" in models for models in holders.values()))
    assert set(holders) == {"cpu", "cpu:1"}
    pool.worker.release("other")
    await collect_memory(pool, lambda holders: all("other" not in models for models in holders.values()))


async def collect_memory(
    pool: WorkerProbe, is_done: Callable[[dict[str, tuple[str, ...]]], bool]
) -> dict[str, tuple[str, ...]]:
    """Reads reports until the models in the memory of both workers are as they should be, and returns them."""
    models: dict[str, tuple[str, ...]] = {}
    while len(models) < len(pool.worker.names) or not is_done(models):
        report = await pool.next_report(ModelsInMemory)
        assert isinstance(report, ModelsInMemory)
        models[report.worker] = report.models
    return models


async def test_the_same_job_gives_the_same_pixels_on_every_worker(pool: WorkerProbe) -> None:
    pool.submit("first", worker="cpu")
    pool.submit("second", worker="cpu:1")
    store, pixels = ImageStore(pool.config.data_dir), set()
    for _, event in (await pool.final_events("first", "second")).values():
        assert isinstance(event, Result)
        pixels.add(store.picture_path(event.pictures[0].id).read_bytes())
    assert len(pixels) == 1
