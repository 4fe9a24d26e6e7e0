"""The service: submitting, following and cancelling jobs, with a worker that stops and returns."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from imagegen.errors import (
    IdempotencyKeyReused,
    InvalidRequest,
    NothingToKeep,
    NotOnDisk,
    QueueFull,
    UnknownJob,
    UnknownModel,
    WorkerUnavailable,
)
from imagegen.schema.base import User
from imagegen.schema.events import Event, Failed, Loading, Progress, Queued, Result
from imagegen.schema.pictures import PictureQuery
from imagegen.schema.request import GenerationRequest, LoraUse
from imagegen.service import Service
from imagegen.settings import ASSETS_DIR, Settings
from imagegen.storage.files import ImageStore
from imagegen.storage.storage import Storage
from imagegen.workers.messages import ModelsInMemory
from tests.doubles import ScriptedWorker, make_library, make_result
from tests.unit.model_files import write_lora, write_unet_model
from tests.unit.settled_service import SettledService
from tests.unit.stored_jobs import change_rows, list_unfinished_ids, open_jobs, read_job
from tests.unit.wait import let_tasks_settle, wait_until_true

ANN, BOB = User(id="ann"), User(id="bob")
REQUEST = GenerationRequest(prompt="a red circle")
EMBEDDED = ASSETS_DIR / "models" / "embedded"


def new_service(folder: Path, worker: ScriptedWorker, max_queued: int = 64, max_running: int = 1) -> Service:
    settings = Settings(data_dir=folder, max_queued=max_queued, max_running=max_running)
    return SettledService(settings, make_library(folder), Storage(folder / "jobs.sqlite"), ImageStore(folder), worker)


@pytest.fixture
def worker() -> ScriptedWorker:
    return ScriptedWorker()


@pytest.fixture
async def service(tmp_path: Path, worker: ScriptedWorker) -> AsyncIterator[Service]:
    async with start_ready_service(new_service(tmp_path, worker, max_queued=3), worker) as service:
        yield service


@asynccontextmanager
async def start_ready_service(service: Service, worker: ScriptedWorker) -> AsyncIterator[Service]:
    await service.start()
    worker.report_ready()
    await wait_until_true(lambda: service.worker_state == "ready")
    yield service
    await service.stop()


async def collect_service_events(service: Service, job_id: str, after: int = 0, user: User = ANN) -> list[Event]:
    return [event async for event in service.events(job_id, user, after)]


async def test_a_job_runs_from_queue_to_result(service: Service, worker: ScriptedWorker) -> None:
    job_id = await service.submit(REQUEST, ANN)
    worker.emit_event(job_id, Progress(step=1, steps=2))
    worker.emit_event(job_id, make_result())
    assert [event.type for event in await collect_service_events(service, job_id)] == [
        "queued",
        "started",
        "progress",
        "result",
    ]


async def test_what_was_left_open_is_filled_in(service: Service, worker: ScriptedWorker) -> None:
    await service.submit(REQUEST, ANN)
    request, model = worker.submitted[0].request, service.model_manager.get_default()
    assert worker.submitted[0].model is not None
    assert (request.width, request.steps, request.sampler) == (model.width, model.steps, model.sampler)
    assert request.seed is not None and request.strength is None
    assert request.model == worker.submitted[0].model.id == model.id == "embedded"


async def test_seeds_are_drawn_anew(service: Service, worker: ScriptedWorker) -> None:
    for _ in range(2):
        job_id = await service.submit(REQUEST, ANN)
        worker.emit_event(job_id, make_result())
        await let_tasks_settle()
    first, second = (run.request.seed for run in worker.submitted)
    assert first != second


async def test_events_can_be_followed_again_from_any_point(service: Service, worker: ScriptedWorker) -> None:
    job_id = await service.submit(REQUEST, ANN)
    worker.emit_event(job_id, make_result())
    await let_tasks_settle()
    assert [event.seq for event in await collect_service_events(service, job_id)] == [1, 2, 3]
    assert [event.seq for event in await collect_service_events(service, job_id, after=2)] == [3]


@pytest.mark.parametrize("after", [3, 1000])
async def test_no_event_follows_the_last_one_of_a_job(service: Service, worker: ScriptedWorker, after: int) -> None:
    job_id = await service.submit(REQUEST, ANN)
    watching = asyncio.create_task(collect_service_events(service, job_id, after=after))
    await let_tasks_settle()
    assert not watching.done()
    worker.emit_event(job_id, make_result())
    async with asyncio.timeout(5):
        assert await watching == []
        assert await collect_service_events(service, job_id, after=after) == []


async def run_several_jobs(folder: Path, worker: ScriptedWorker, count: int) -> Service:
    """Returns a service that is ready to run `count` jobs at a time."""
    service = new_service(folder, worker, max_running=count)
    await service.start()
    worker.report_ready()
    await wait_until_true(lambda: service.worker_state == "ready")
    return service


async def test_the_limits_of_running_jobs_are_used_in_all_and_per_user(tmp_path: Path, worker: ScriptedWorker) -> None:
    service = await run_several_jobs(tmp_path, worker, 6)
    mine = [await service.submit(REQUEST, ANN) for _ in range(5)]
    others = [await service.submit(REQUEST, BOB) for _ in range(3)]
    assert [run.job_id for run in worker.submitted] == [*mine[:4], *others[:2]]
    worker.emit_event(others[0], make_result())
    await wait_until_true(lambda: len(worker.submitted) == 7)
    assert worker.submitted[-1].job_id == others[2]
    worker.emit_event(mine[2], make_result())
    await wait_until_true(lambda: len(worker.submitted) == 8)
    assert worker.submitted[-1].job_id == mine[4]
    await service.stop()


async def test_each_of_several_jobs_has_its_own_events_previews_and_end(tmp_path: Path, worker: ScriptedWorker) -> None:
    service = await run_several_jobs(tmp_path, worker, 3)
    jobs = [await service.submit(REQUEST, user) for user in (ANN, BOB, ANN)]
    seen_by = {
        job_id: asyncio.create_task(collect_service_events(service, job_id, user=user))
        for job_id, user in zip(jobs[:2], (ANN, BOB), strict=True)
    }
    for step in (1, 2):
        for job_id in jobs:
            worker.emit_event(job_id, Progress(step=step, steps=2))
    worker.emit_event(jobs[1], make_result("1" * 32))
    worker.emit_event(jobs[0], make_result("0" * 32))
    for job_id, picture in zip(jobs[:2], ("0", "1"), strict=True):
        events = await seen_by[job_id]
        assert [event.type for event in events] == ["queued", "started", "progress", "progress", "result"]
        assert isinstance(events[-1], Result) and events[-1].pictures[0].id == picture * 32
    await service.cancel(jobs[2], ANN)
    assert worker.cancelled == [jobs[2]]
    assert (await collect_service_events(service, jobs[2]))[-1].type == "cancelled"
    await service.stop()


async def test_a_worker_that_dies_takes_all_running_jobs_along_and_none_that_wait(
    tmp_path: Path, worker: ScriptedWorker
) -> None:
    service = await run_several_jobs(tmp_path, worker, 2)
    jobs = [await service.submit(REQUEST, user) for user in (ANN, BOB, ANN)]
    worker.report_gone()
    for job_id in jobs[:2]:
        worker.emit_event(job_id, Failed(code="worker_died", message="It died."))
    await wait_until_true(lambda: service.worker_state == "warming up")
    await let_tasks_settle()
    assert [
        (await service.get_job(job_id, user)).state for job_id, user in zip(jobs, (ANN, BOB, ANN), strict=True)
    ] == [
        "failed",
        "failed",
        "queued",
    ]
    worker.report_ready()
    await wait_until_true(lambda: worker.current_job_id == jobs[2])
    await service.stop()


async def test_a_slow_page_gets_the_latest_progress_only(service: Service, worker: ScriptedWorker) -> None:
    job_id = await service.submit(REQUEST, ANN)
    async with aclosing(service.events(job_id, ANN, previews=True)) as events:
        assert (await anext(events)).type == "queued"
        for step in range(1, 9):
            worker.emit_event(job_id, Progress(step=step, steps=9))
        await let_tasks_settle()
        assert (await anext(events)).type == "started"
        assert await anext(events) == Progress(seq=10, step=8, steps=9)


async def test_a_slow_page_gets_the_latest_preview(service: Service, worker: ScriptedWorker) -> None:
    job_id = await service.submit(REQUEST, ANN)
    async with aclosing(service.events(job_id, ANN, previews=True)) as events:
        assert (await anext(events)).type == "queued"
        for step in range(1, 5):
            worker.emit_event(job_id, Progress(step=step, steps=9, preview="second" if step == 2 else None))
        await let_tasks_settle()
        assert (await anext(events)).type == "started"
        assert await anext(events) == Progress(seq=6, step=4, steps=9, preview="second")
        worker.emit_event(job_id, Progress(step=5, steps=9))
        assert await anext(events) == Progress(seq=7, step=5, steps=9)


async def test_queue_positions_are_reported(service: Service, worker: ScriptedWorker) -> None:
    first = await service.submit(REQUEST, ANN)
    await service.submit(REQUEST, ANN)
    third = await service.submit(REQUEST, ANN)
    places: list[int] = []

    async def watch() -> None:
        async for event in service.events(third, ANN):
            if isinstance(event, Queued):
                places.append(event.position)

    watching = asyncio.create_task(watch())
    await let_tasks_settle()
    assert len(worker.submitted) == 1
    worker.emit_event(first, make_result())
    await let_tasks_settle()
    assert places == [1, 0]
    watching.cancel()


async def test_a_full_queue_says_when_to_try_again(service: Service) -> None:
    for _ in range(4):
        await service.submit(REQUEST, ANN)
    with pytest.raises(QueueFull, match=r"3 jobs are waiting. Please try again in \d+ seconds") as refused:
        await service.submit(REQUEST, BOB)
    assert refused.value.retry_after > 0


async def test_a_queued_job_is_cancelled_at_once(service: Service, worker: ScriptedWorker) -> None:
    running = await service.submit(REQUEST, ANN)
    queued = await service.submit(REQUEST, ANN)
    await service.cancel(queued, ANN)
    assert (await collect_service_events(service, queued))[-1].type == "cancelled"
    assert worker.cancelled == []
    worker.emit_event(running, make_result())
    await let_tasks_settle()
    assert len(worker.submitted) == 1


async def test_a_running_job_is_cancelled_by_the_worker(service: Service, worker: ScriptedWorker) -> None:
    job_id = await service.submit(REQUEST, ANN)
    await service.cancel(job_id, ANN)
    assert worker.cancelled == [job_id]
    assert (await collect_service_events(service, job_id))[-1].type == "cancelled"


async def test_cancelling_too_late_is_no_error(service: Service, worker: ScriptedWorker) -> None:
    job_id = await service.submit(REQUEST, ANN)
    worker.emit_event(job_id, make_result())
    await let_tasks_settle()
    await service.cancel(job_id, ANN)
    assert worker.cancelled == []
    with pytest.raises(UnknownJob):
        await service.cancel("nonsense", ANN)


async def test_a_job_with_a_step_is_ended_early_by_the_worker_and_ends_as_usual(
    service: Service, worker: ScriptedWorker
) -> None:
    job_id = await service.submit(REQUEST, ANN)
    worker.emit_event(job_id, Progress(step=3, steps=20))
    await let_tasks_settle()
    with pytest.raises(UnknownJob):
        await service.finish_early(job_id, BOB)
    assert worker.finished_early == []
    await service.finish_early(job_id, ANN)
    await service.finish_early(job_id, ANN)
    assert set(worker.finished_early) == {job_id}
    worker.emit_event(job_id, make_result(unfinished_at_step=4))
    last = (await collect_service_events(service, job_id))[-1]
    assert isinstance(last, Result) and last.pictures[0].receipt.unfinished_at_step == 4
    assert (await service.get_job(job_id, ANN)).state == "done"
    asked = len(worker.finished_early)
    await service.finish_early(job_id, ANN)
    await service.cancel(job_id, ANN)
    assert len(worker.finished_early) == asked and worker.cancelled == []
    (picture,) = (await service.pictures.search(PictureQuery(), ANN)).pictures
    assert picture.receipt is not None and picture.receipt.unfinished_at_step == 4


async def test_a_job_without_a_step_has_nothing_to_keep(service: Service, worker: ScriptedWorker) -> None:
    running, waiting = [await service.submit(REQUEST, ANN) for _ in range(2)]
    with pytest.raises(NothingToKeep, match="its first step is not done yet"):
        await service.finish_early(running, ANN)
    worker.emit_event(running, Loading(model="Embedded"))
    await let_tasks_settle()
    with pytest.raises(NothingToKeep, match="its first step is not done yet"):
        await service.finish_early(running, ANN)
    with pytest.raises(NothingToKeep, match="it is still in the queue"):
        await service.finish_early(waiting, ANN)
    await service.cancel(waiting, ANN)
    worker.emit_event(running, Failed(code="job_failed", message="It failed."))
    await let_tasks_settle()
    for job_id in (running, waiting):
        with pytest.raises(NothingToKeep, match="it has ended without one"):
            await service.finish_early(job_id, ANN)
    assert worker.finished_early == []


async def test_a_watcher_who_leaves_ends_the_job_and_frees_the_worker(service: Service, worker: ScriptedWorker) -> None:
    async with aclosing(service.generate(REQUEST, ANN)) as events:
        async for event in events:
            if event.type == "started":
                break
    await let_tasks_settle()
    assert worker.cancelled == [worker.current_job_id]
    await service.submit(REQUEST, BOB)
    assert len(worker.submitted) == 2


async def test_a_client_that_disconnects_ends_the_events_and_cancels_the_job(
    service: Service, worker: ScriptedWorker
) -> None:
    async def is_connected() -> bool:
        return not worker.submitted

    async for event in service.generate(REQUEST, ANN, is_connected=is_connected):
        assert event.type == "queued"
    assert worker.cancelled == [worker.current_job_id]


async def test_a_caller_in_a_cancelled_scope_still_cancels_the_job(service: Service, worker: ScriptedWorker) -> None:
    with anyio.CancelScope() as scope:
        async with aclosing(service.generate(REQUEST, ANN)) as events:
            async for _ in events:
                scope.cancel()
    assert worker.cancelled == [worker.current_job_id]


async def test_a_caller_who_is_cancelled_twice_still_cancels_the_job(service: Service, worker: ScriptedWorker) -> None:
    """So is a socket that closes while it is written to."""

    async def follow() -> None:
        async with aclosing(service.generate(REQUEST, ANN)) as events:
            async for _ in events:
                pass

    task = asyncio.create_task(follow())
    await wait_until_true(lambda: worker.submitted)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_until_true(lambda: worker.cancelled == [worker.current_job_id])


@pytest.mark.parametrize("is_stored", [False, True])
async def test_a_caller_who_leaves_while_the_request_is_submitted_leaves_no_job_behind(
    service: Service, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch, is_stored: bool
) -> None:
    submit, job_ids = service.submit, list[str]()

    with anyio.CancelScope() as scope:

        async def submit_and_leave(*arguments: Any) -> str:
            if not is_stored:
                scope.cancel()
            job_ids.append(await submit(*arguments))
            scope.cancel()
            await asyncio.sleep(0.01)
            return job_ids[0]

        monkeypatch.setattr(service, "submit", submit_and_leave)
        async with aclosing(service.generate(REQUEST, ANN)) as events:
            async for _ in events:
                pass
    assert worker.cancelled == job_ids != []


async def test_previews_are_sent_only_to_those_who_ask_for_them(service: Service, worker: ScriptedWorker) -> None:
    job_id = await service.submit(REQUEST, ANN)
    assert worker.previews[job_id] is False
    shown: list[str | None] = []

    async def watch(previews: bool) -> None:
        async for event in service.events(job_id, ANN, previews=previews):
            if isinstance(event, Progress):
                shown.append(event.preview)

    tasks = [asyncio.create_task(watch(True)), asyncio.create_task(watch(False))]
    await let_tasks_settle()
    assert worker.previews[job_id] is True
    worker.emit_event(job_id, Progress(step=1, steps=2, preview="jpeg"))
    await let_tasks_settle()
    assert sorted(shown, key=str) == [None, "jpeg"]
    tasks[0].cancel()
    await let_tasks_settle()
    assert worker.previews[job_id] is False
    tasks[1].cancel()


async def test_a_job_waits_while_the_worker_warms_up(tmp_path: Path, worker: ScriptedWorker) -> None:
    service = new_service(tmp_path, worker)
    await service.start()
    assert service.worker_state == "warming up"
    job_id = await service.submit(REQUEST, ANN)
    watching = asyncio.create_task(collect_service_events(service, job_id))
    await let_tasks_settle()
    assert worker.submitted == []
    worker.report_ready()
    await let_tasks_settle()
    worker.emit_event(job_id, make_result())
    events = await watching
    assert isinstance(events[0], Queued) and events[0].warming_up
    assert events[-1].type == "result"
    await service.stop()


async def test_a_worker_that_comes_back_goes_on_with_the_queue(service: Service, worker: ScriptedWorker) -> None:
    lost = await service.submit(REQUEST, ANN)
    kept = await service.submit(REQUEST, ANN)
    worker.report_gone()
    worker.emit_event(lost, Failed(code="worker_died", message="It stopped."))
    await wait_until_true(lambda: service.worker_state == "warming up")
    worker.report_ready()
    await wait_until_true(lambda: len(worker.submitted) == 2)
    assert [run.job_id for run in worker.submitted] == [lost, kept]


async def test_a_worker_that_cannot_start_fails_the_queue_and_refuses_jobs(
    service: Service, worker: ScriptedWorker
) -> None:
    running = await service.submit(REQUEST, ANN)
    queued = await service.submit(REQUEST, ANN)
    worker.report_gone("no device")
    worker.emit_event(running, Failed(code="worker_died", message="It stopped."))
    await let_tasks_settle()
    assert read_job(service, queued).state == "failed"
    assert [event.type for event in await collect_service_events(service, queued)] == ["queued", "error"]
    with pytest.raises(WorkerUnavailable, match="no device"):
        await service.submit(REQUEST, ANN)


async def test_what_was_queued_before_a_restart_runs_after_it(tmp_path: Path) -> None:
    before = ScriptedWorker()
    first = new_service(tmp_path, before)
    await first.start()
    job_id = await first.submit(REQUEST, ANN)
    await first.stop()
    after = ScriptedWorker()
    second = new_service(tmp_path, after)
    await second.start()
    after.report_ready()
    await let_tasks_settle()
    assert after.current_job_id == job_id
    await second.stop()
    third = new_service(tmp_path, ScriptedWorker())
    with open_jobs(third) as jobs:
        assert [event.type for event in jobs.list_events(job_id)][-1] == "error"


UNREADABLE_REQUESTS = ['{"prompt": "x", "field_of_tomorrow": 1}', "no JSON"]


async def store_unreadable_job(folder: Path, stored_request: str) -> str:
    """Leaves a queue whose first job another version of the studio wrote, with an idempotency key; returns its id."""
    worker = ScriptedWorker()
    async with start_ready_service(new_service(folder, worker), worker) as service:
        await service.submit(REQUEST, BOB)
        job_id = await service.submit(REQUEST, ANN, idempotency_key="a key")
        await service.submit(REQUEST, ANN)
        change_rows(service, "UPDATE jobs SET request = ? WHERE id = ?", (stored_request, job_id))
        change_rows(service, "UPDATE keys SET request = ?", (stored_request,))
    service.storage.close()
    return job_id


@pytest.mark.parametrize("stored_request", UNREADABLE_REQUESTS)
async def test_a_stored_request_that_cannot_be_read_fails_its_job_and_no_other(
    tmp_path: Path, worker: ScriptedWorker, stored_request: str
) -> None:
    lost = await store_unreadable_job(tmp_path, stored_request)
    service = new_service(tmp_path, worker)
    await service.start()
    (other_id,) = list_unfinished_ids(service, ANN.id)
    assert (await service.get_job(lost, ANN)).state == "failed"
    last = await service.get_latest_event(lost, ANN)
    assert isinstance(last, Failed) and last.code == "unreadable"
    assert (await collect_service_events(service, lost))[-1] == last
    worker.report_ready()
    await wait_until_true(lambda: worker.submitted)
    assert [order.job_id for order in worker.submitted] == [other_id]
    again = await service.submit(REQUEST, ANN, idempotency_key="a key")
    assert again != lost and (await service.get_job(again, ANN)).state == "queued"
    assert await service.submit(REQUEST, ANN, idempotency_key="a key") == again
    await service.stop()


async def test_a_key_whose_request_cannot_be_read_is_not_given_another_meaning(
    service: Service, worker: ScriptedWorker
) -> None:
    job_id = await service.submit(REQUEST, ANN, idempotency_key="a key")
    worker.emit_event(job_id, make_result())
    await let_tasks_settle()
    change_rows(service, "UPDATE keys SET request = 'no JSON'")
    with pytest.raises(IdempotencyKeyReused):
        await service.submit(REQUEST, ANN, idempotency_key="a key")


@pytest.mark.parametrize("stored_request", UNREADABLE_REQUESTS)
async def test_a_job_that_becomes_unreadable_while_it_waits_fails_when_its_turn_comes(
    service: Service, worker: ScriptedWorker, stored_request: str
) -> None:
    first, lost, last = [await service.submit(REQUEST, ANN) for _ in range(3)]
    change_rows(service, "UPDATE jobs SET request = ? WHERE id = ?", (stored_request, lost))
    assert list_unfinished_ids(service, ANN.id) == [first, lost, last]
    worker.emit_event(first, make_result())
    failed = (await collect_service_events(service, lost))[-1]
    assert isinstance(failed, Failed) and failed.code == "unreadable"
    await wait_until_true(lambda: worker.current_job_id == last)


async def test_a_stored_event_that_cannot_be_read_ends_its_job_for_watchers_and_no_other(
    service: Service, worker: ScriptedWorker
) -> None:
    lost, other = [await service.submit(REQUEST, ANN) for _ in range(2)]
    for job_id in (lost, other):
        worker.emit_event(job_id, make_result())
        await collect_service_events(service, job_id)
    change_rows(
        service,
        "UPDATE events SET event = json_set(event, '$.of_tomorrow', 1) WHERE job = ? AND event LIKE '%result%'",
        (lost,),
    )
    events = await collect_service_events(service, lost)
    assert isinstance(events[-1], Failed) and events[-1].code == "unreadable"
    assert [event.type for event in events] == ["queued", "started", "error"]
    assert await service.get_latest_event(lost, ANN) == events[-1]
    assert (await collect_service_events(service, other))[-1].type == "result"


async def test_a_size_that_the_model_cannot_do_is_refused_by_name(service: Service) -> None:
    with pytest.raises(InvalidRequest, match="width: must be at most 512 with the model embedded"):
        await service.submit(GenerationRequest(prompt="x", width=1024), ANN)


async def test_an_unknown_start_image_is_refused(service: Service) -> None:
    with pytest.raises(InvalidRequest, match="init_image: is not known here"):
        await service.submit(GenerationRequest(prompt="x", init_image="0" * 64), ANN)


async def test_loading_a_model_to_the_device_is_reported(service: Service, worker: ScriptedWorker) -> None:
    job_id = await service.submit(REQUEST, ANN)
    worker.emit_event(job_id, Loading(model="Embedded"))
    worker.emit_event(job_id, make_result())
    assert [event.type for event in await collect_service_events(service, job_id)] == [
        "queued",
        "started",
        "loading",
        "result",
    ]


async def test_a_job_runs_on_the_requested_model(service: Service, worker: ScriptedWorker, tmp_path: Path) -> None:
    folder = write_unet_model(tmp_path / "models" / "mine")
    await service.submit(GenerationRequest(prompt="x", model="mine"), ANN)
    run = worker.submitted[0]
    assert run.model is not None
    assert (run.model.path, run.request.model, run.request.width) == (folder, "mine", 512)


async def test_a_model_that_is_not_here_is_refused_with_those_that_are(service: Service) -> None:
    with pytest.raises(UnknownModel, match="model: there is no 'nonsense' here. It can be embedded, "):
        await service.submit(GenerationRequest(prompt="x", model="nonsense"), ANN)
    with pytest.raises(NotOnDisk, match="model: sd-1.5 is not on disk yet"):
        await service.submit(GenerationRequest(prompt="x", model="sd-1.5"), ANN)
    assert service.queue.list_queued() == []


async def test_a_model_that_is_gone_when_its_turn_comes_fails_its_job_and_no_other(
    service: Service, worker: ScriptedWorker, tmp_path: Path
) -> None:
    folder = write_unet_model(tmp_path / "models" / "mine")
    first = await service.submit(REQUEST, ANN)
    lost = await service.submit(GenerationRequest(prompt="x", model="mine"), ANN)
    last = await service.submit(REQUEST, ANN)
    folder.rename(tmp_path / "elsewhere")
    worker.emit_event(first, make_result())
    failed = (await collect_service_events(service, lost))[-1]
    assert isinstance(failed, Failed) and failed.code == "unknown_model"
    await wait_until_true(lambda: worker.current_job_id == last)


async def test_loras_go_to_the_worker_by_their_own_names(
    service: Service, worker: ScriptedWorker, tmp_path: Path
) -> None:
    file = write_lora(tmp_path / "models" / "loras" / "mine.safetensors")
    await service.submit(GenerationRequest(prompt="x", loras=(LoraUse(lora="mine.safetensors", weight=0.5),)), ANN)
    run = worker.submitted[0]
    assert run.request.loras == (LoraUse(lora="mine", weight=0.5),)
    (adapter,) = run.adapters
    assert (adapter.path, adapter.weight, adapter.kind) == (file, 0.5, "lora")


@pytest.fixture
async def service_with_lora_model(worker: ScriptedWorker, tmp_path: Path) -> AsyncIterator[Service]:
    """A studio whose catalogue has the embedded model twice, once with a LoRA and another number of steps."""
    write_lora(tmp_path / "models" / "loras" / "mine.safetensors")
    write_lora(tmp_path / "models" / "loras" / "other.safetensors")
    place = {"path": str(EMBEDDED), "pipeline": "StableDiffusionPipeline"}
    lora_uses = [{"lora": "mine.safetensors", "weight": 0.5}]
    entry = {"id": "with-lora", "name": "With LoRA", **place, "steps": 4, "loras": lora_uses}
    (tmp_path / "models" / "catalogue.json").write_text(json.dumps([entry]))
    async with start_ready_service(new_service(tmp_path, worker, max_running=9), worker) as service:
        yield service


async def submit_and_read_loras(service: Service, worker: ScriptedWorker, **fields: Any) -> list[tuple[str, float]]:
    """Returns the LoRAs of a job with the model that has one of its own, with their weights."""
    before = len(worker.submitted)
    await service.submit(GenerationRequest(prompt="x", model="with-lora", **fields), ANN)
    await wait_until_true(lambda: len(worker.submitted) > before)
    order = worker.submitted[-1]
    assert [(use.lora, use.weight) for use in order.request.loras] == [
        (each.id, each.weight) for each in order.adapters
    ]
    return [(use.lora, use.weight) for use in order.request.loras]


async def test_a_catalogue_model_may_include_loras(service_with_lora_model: Service, worker: ScriptedWorker) -> None:
    assert await submit_and_read_loras(service_with_lora_model, worker) == [("mine", 0.5)]
    assert await submit_and_read_loras(service_with_lora_model, worker, loras=(LoraUse(lora="other"),)) == [
        ("mine", 0.5),
        ("other", 1),
    ]
    for name in ("mine", "mine.safetensors"):
        assert await submit_and_read_loras(
            service_with_lora_model, worker, loras=(LoraUse(lora=name, weight=0.8),)
        ) == [("mine", 0.8)]


async def test_a_model_with_loras_shares_memory_with_its_base_model(
    service_with_lora_model: Service, worker: ScriptedWorker
) -> None:
    await submit_and_read_loras(service_with_lora_model, worker)
    run = worker.submitted[-1]
    assert (run.request.model, run.request.steps, run.model) == (
        "with-lora",
        4,
        service_with_lora_model.model_manager.resolve_model("embedded")[1],
    )
    worker.emit_report(ModelsInMemory(worker="cpu", models=("embedded",)))
    await wait_until_true(service_with_lora_model.workers.list_models)
    states = {status.model.id: status.state for status in service_with_lora_model.model_manager.list_models()}
    assert states["with-lora"] == states["embedded"] == "in memory"
    unloading = asyncio.create_task(service_with_lora_model.model_manager.models.unload("with-lora", ANN))
    await wait_until_true(lambda: worker.released == ["embedded"])
    worker.emit_report(ModelsInMemory(worker="cpu", models=()))
    await unloading


async def test_a_model_whose_lora_is_not_here_is_not_here(service_with_lora_model: Service, tmp_path: Path) -> None:
    (tmp_path / "models" / "loras" / "mine.safetensors").unlink()
    states = {status.model.id: status.state for status in service_with_lora_model.model_manager.list_models()}
    assert (states["with-lora"], states["embedded"]) == ("absent", "on disk")
    with pytest.raises(NotOnDisk, match="model: with-lora is not on disk"):
        await service_with_lora_model.submit(GenerationRequest(prompt="x", model="with-lora"), ANN)


async def test_a_lora_for_another_model_is_refused_by_name(service: Service, tmp_path: Path) -> None:
    write_lora(tmp_path / "models" / "loras" / "mine.safetensors", width=2048)
    with pytest.raises(InvalidRequest, match="loras: mine was made for Stable Diffusion XL, and the model embedded is"):
        await service.submit(GenerationRequest(prompt="x", loras=(LoraUse(lora="mine"),)), ANN)


async def test_a_lora_that_is_not_here_is_refused_by_name(service: Service) -> None:
    with pytest.raises(InvalidRequest, match="there is no 'nonsense' here"):
        await service.submit(GenerationRequest(prompt="x", loras=(LoraUse(lora="nonsense"),)), ANN)


async def test_a_worker_that_stops_for_good_while_a_request_is_checked_leaves_no_job_behind(
    service: Service, worker: ScriptedWorker
) -> None:
    """Such a job would never end."""
    submitting = asyncio.create_task(service.submit(REQUEST, ANN))
    await asyncio.sleep(0)
    worker.report_gone("no device")
    await asyncio.wait([submitting])
    await let_tasks_settle()
    assert service.queue.list_queued() == []
    with suppress(WorkerUnavailable):
        assert (await collect_service_events(service, await submitting))[-1].type == "error"


async def test_the_models_in_memory_are_known_until_the_worker_is_gone(
    service: Service, worker: ScriptedWorker
) -> None:
    worker.emit_report(ModelsInMemory(worker="cpu", models=("embedded",), bytes_by_device={"cpu": 5}))
    await wait_until_true(service.workers.list_models)
    assert service.model_manager.list_models()[0].state == "in memory"
    worker.report_gone()
    await wait_until_true(lambda: not service.workers.list_models())
    assert service.model_manager.list_models()[0].state == "on disk"
