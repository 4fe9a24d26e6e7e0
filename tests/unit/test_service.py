"""The one door: submitting, watching, cancelling, and a worker that comes and goes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from imagegen.errors import InvalidRequest, NotOnDisk, QueueFull, UnknownJob, UnknownModel, WorkerUnavailable
from imagegen.images import ImageStore
from imagegen.jobs import JobStore
from imagegen.schema import Event, Failed, GenerationRequest, Loading, LoraUse, Progress, Queued, Result, User
from imagegen.service import Service
from imagegen.settings import ASSETS, Settings
from imagegen.workers.messages import Held
from tests.doubles import ScriptedWorker, library, result
from tests.unit.folders import lora, unet_model
from tests.unit.waiting import settled, until

ANN, BOB = User(id="ann"), User(id="bob")
REQUEST = GenerationRequest(prompt="a red circle")
EMBEDDED = ASSETS / "models" / "embedded"


def new_service(folder: Path, worker: ScriptedWorker, max_queued: int = 64, max_running: int = 1) -> Service:
    settings = Settings(data_dir=folder, max_queued=max_queued, max_running=max_running)
    return Service(settings, library(folder), JobStore(folder / "jobs.sqlite"), ImageStore(folder), worker)


@pytest.fixture
def worker() -> ScriptedWorker:
    return ScriptedWorker()


@pytest.fixture
async def service(tmp_path: Path, worker: ScriptedWorker) -> AsyncIterator[Service]:
    async with ready(new_service(tmp_path, worker, max_queued=3), worker) as service:
        yield service


@asynccontextmanager
async def ready(service: Service, worker: ScriptedWorker) -> AsyncIterator[Service]:
    await service.start()
    worker.ready()
    await until(lambda: service.state == "ready")
    yield service
    await service.stop()


async def seen(service: Service, job_id: str, after: int = 0, user: User = ANN) -> list[Event]:
    return [event async for event in service.events(job_id, user, after)]


async def test_a_job_runs_from_queue_to_result(service: Service, worker: ScriptedWorker) -> None:
    job_id = await service.submit(REQUEST, ANN)
    worker.tell(job_id, Progress(step=1, steps=2))
    worker.tell(job_id, result())
    assert [event.type for event in await seen(service, job_id)] == ["queued", "started", "progress", "result"]


async def test_what_was_left_open_is_filled_in(service: Service, worker: ScriptedWorker) -> None:
    await service.submit(REQUEST, ANN)
    request, model = worker.submitted[0].request, service.stock.default()
    assert (request.width, request.steps, request.sampler) == (model.width, model.steps, model.sampler)
    assert request.seed is not None and request.strength is None
    assert request.model == worker.submitted[0].model.id == model.id == "embedded"


async def test_seeds_are_drawn_anew(service: Service, worker: ScriptedWorker) -> None:
    for _ in range(2):
        job_id = await service.submit(REQUEST, ANN)
        worker.tell(job_id, result())
        await settled()
    first, second = (run.request.seed for run in worker.submitted)
    assert first != second


async def test_events_can_be_followed_again_from_any_point(service: Service, worker: ScriptedWorker) -> None:
    job_id = await service.submit(REQUEST, ANN)
    worker.tell(job_id, result())
    await settled()
    assert [event.seq for event in await seen(service, job_id)] == [1, 2, 3]
    assert [event.seq for event in await seen(service, job_id, after=2)] == [3]


async def several(folder: Path, worker: ScriptedWorker, count: int) -> Service:
    """A service that is ready to run so many jobs at a time."""
    service = new_service(folder, worker, max_running=count)
    await service.start()
    worker.ready()
    await until(lambda: service.state == "ready")
    return service


async def test_as_many_jobs_run_as_may_and_of_one_user_as_many_as_he_may(
    tmp_path: Path, worker: ScriptedWorker
) -> None:
    service = await several(tmp_path, worker, 6)
    mine = [await service.submit(REQUEST, ANN) for _ in range(5)]
    others = [await service.submit(REQUEST, BOB) for _ in range(3)]
    assert [run.job_id for run in worker.submitted] == [*mine[:4], *others[:2]]
    worker.tell(others[0], result())
    await until(lambda: len(worker.submitted) == 7)
    assert worker.submitted[-1].job_id == others[2]
    worker.tell(mine[2], result())
    await until(lambda: len(worker.submitted) == 8)
    assert worker.submitted[-1].job_id == mine[4]
    await service.stop()


async def test_each_of_several_jobs_has_its_own_events_previews_and_end(tmp_path: Path, worker: ScriptedWorker) -> None:
    service = await several(tmp_path, worker, 3)
    jobs = [await service.submit(REQUEST, user) for user in (ANN, BOB, ANN)]
    seen_by = {
        job_id: asyncio.create_task(seen(service, job_id, user=user))
        for job_id, user in zip(jobs[:2], (ANN, BOB), strict=True)
    }
    for step in (1, 2):
        for job_id in jobs:
            worker.tell(job_id, Progress(step=step, steps=2))
    worker.tell(jobs[1], result("1" * 32))
    worker.tell(jobs[0], result("0" * 32))
    for job_id, picture in zip(jobs[:2], ("0", "1"), strict=True):
        events = await seen_by[job_id]
        assert [event.type for event in events] == ["queued", "started", "progress", "progress", "result"]
        assert isinstance(events[-1], Result) and events[-1].pictures[0].id == picture * 32
    await service.cancel(jobs[2], ANN)
    assert worker.cancelled == [jobs[2]]
    assert (await seen(service, jobs[2]))[-1].type == "cancelled"
    await service.stop()


async def test_a_worker_that_dies_takes_all_running_jobs_along_and_none_that_wait(
    tmp_path: Path, worker: ScriptedWorker
) -> None:
    service = await several(tmp_path, worker, 2)
    jobs = [await service.submit(REQUEST, user) for user in (ANN, BOB, ANN)]
    worker.gone()
    for job_id in jobs[:2]:
        worker.tell(job_id, Failed(code="worker_died", message="It died."))
    await until(lambda: service.state == "warming up")
    await settled()
    assert [service.job(job_id, user).state for job_id, user in zip(jobs, (ANN, BOB, ANN), strict=True)] == [
        "failed",
        "failed",
        "queued",
    ]
    worker.ready()
    await until(lambda: worker.current == jobs[2])
    await service.stop()


async def test_a_page_that_is_slow_to_look_gets_the_latest_only(service: Service, worker: ScriptedWorker) -> None:
    job_id = await service.submit(REQUEST, ANN)
    async with aclosing(service.events(job_id, ANN, previews=True)) as events:
        assert (await anext(events)).type == "queued"
        for step in range(1, 9):
            worker.tell(job_id, Progress(step=step, steps=9))
        await settled()
        assert (await anext(events)).type == "started"
        assert await anext(events) == Progress(seq=10, step=8, steps=9)


async def test_places_in_the_queue_are_told(service: Service, worker: ScriptedWorker) -> None:
    first = await service.submit(REQUEST, ANN)
    await service.submit(REQUEST, ANN)
    third = await service.submit(REQUEST, ANN)
    places: list[int] = []

    async def watch() -> None:
        async for event in service.events(third, ANN):
            if isinstance(event, Queued):
                places.append(event.position)

    watching = asyncio.create_task(watch())
    await settled()
    assert len(worker.submitted) == 1
    worker.tell(first, result())
    await settled()
    assert places == [1, 0]
    watching.cancel()


async def test_a_full_queue_says_when_to_come_back(service: Service) -> None:
    for _ in range(4):
        await service.submit(REQUEST, ANN)
    with pytest.raises(QueueFull, match=r"3 jobs are waiting. Please try again in \d+ seconds") as refused:
        await service.submit(REQUEST, BOB)
    assert refused.value.retry_after > 0


async def test_a_queued_job_is_cancelled_at_once(service: Service, worker: ScriptedWorker) -> None:
    running = await service.submit(REQUEST, ANN)
    queued = await service.submit(REQUEST, ANN)
    await service.cancel(queued, ANN)
    assert (await seen(service, queued))[-1].type == "cancelled"
    assert worker.cancelled == []
    worker.tell(running, result())
    await settled()
    assert len(worker.submitted) == 1


async def test_a_running_job_is_cancelled_by_the_worker(service: Service, worker: ScriptedWorker) -> None:
    job_id = await service.submit(REQUEST, ANN)
    await service.cancel(job_id, ANN)
    assert worker.cancelled == [job_id]
    assert (await seen(service, job_id))[-1].type == "cancelled"


async def test_cancelling_too_late_is_no_error(service: Service, worker: ScriptedWorker) -> None:
    job_id = await service.submit(REQUEST, ANN)
    worker.tell(job_id, result())
    await settled()
    await service.cancel(job_id, ANN)
    assert worker.cancelled == []
    with pytest.raises(UnknownJob):
        await service.cancel("nonsense", ANN)


async def test_a_watcher_who_leaves_ends_his_job_and_frees_the_worker(service: Service, worker: ScriptedWorker) -> None:
    async with aclosing(service.generate(REQUEST, ANN)) as events:
        async for event in events:
            if event.type == "started":
                break
    await settled()
    assert worker.cancelled == [worker.current]
    await service.submit(REQUEST, BOB)
    assert len(worker.submitted) == 2


async def test_previews_reach_those_who_want_them_alone(service: Service, worker: ScriptedWorker) -> None:
    job_id = await service.submit(REQUEST, ANN)
    assert worker.previews[job_id] is False
    shown: list[str | None] = []

    async def watch(previews: bool) -> None:
        async for event in service.events(job_id, ANN, previews=previews):
            if isinstance(event, Progress):
                shown.append(event.preview)

    tasks = [asyncio.create_task(watch(True)), asyncio.create_task(watch(False))]
    await settled()
    assert worker.previews[job_id] is True
    worker.tell(job_id, Progress(step=1, steps=2, preview="jpeg"))
    await settled()
    assert sorted(shown, key=str) == [None, "jpeg"]
    tasks[0].cancel()
    await settled()
    assert worker.previews[job_id] is False
    tasks[1].cancel()


async def test_a_job_waits_while_the_worker_warms_up(tmp_path: Path, worker: ScriptedWorker) -> None:
    service = new_service(tmp_path, worker)
    await service.start()
    assert service.state == "warming up"
    job_id = await service.submit(REQUEST, ANN)
    watching = asyncio.create_task(seen(service, job_id))
    await settled()
    assert worker.submitted == []
    worker.ready()
    await settled()
    worker.tell(job_id, result())
    events = await watching
    assert isinstance(events[0], Queued) and events[0].warming_up
    assert events[-1].type == "result"
    await service.stop()


async def test_a_worker_that_comes_back_goes_on_with_the_queue(service: Service, worker: ScriptedWorker) -> None:
    lost = await service.submit(REQUEST, ANN)
    kept = await service.submit(REQUEST, ANN)
    worker.gone()
    worker.tell(lost, Failed(code="worker_died", message="It stopped."))
    await settled()
    assert service.state == "warming up"
    worker.ready()
    await settled()
    assert [run.job_id for run in worker.submitted] == [lost, kept]


async def test_a_worker_without_hope_fails_the_queue_and_refuses_jobs(service: Service, worker: ScriptedWorker) -> None:
    running = await service.submit(REQUEST, ANN)
    queued = await service.submit(REQUEST, ANN)
    worker.gone("no device")
    worker.tell(running, Failed(code="worker_died", message="It stopped."))
    await settled()
    assert service.jobs.get(queued).state == "failed"
    assert [event.type for event in await seen(service, queued)] == ["queued", "error"]
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
    after.ready()
    await settled()
    assert after.current == job_id
    await second.stop()
    third = new_service(tmp_path, ScriptedWorker())
    assert [event.type for event in third.jobs.events(job_id)][-1] == "error"
    third.jobs.close()


async def test_a_size_that_the_model_cannot_do_is_refused_by_name(service: Service) -> None:
    with pytest.raises(InvalidRequest, match="width: must be at most 512 with the model embedded"):
        await service.submit(GenerationRequest(prompt="x", width=1024), ANN)


async def test_an_unknown_picture_to_start_from_is_refused(service: Service) -> None:
    with pytest.raises(InvalidRequest, match="init_image: is not known here"):
        await service.submit(GenerationRequest(prompt="x", init_image="0" * 64), ANN)


async def test_that_a_model_is_brought_to_the_device_is_told(service: Service, worker: ScriptedWorker) -> None:
    job_id = await service.submit(REQUEST, ANN)
    worker.tell(job_id, Loading(model="Embedded"))
    worker.tell(job_id, result())
    assert [event.type for event in await seen(service, job_id)] == ["queued", "started", "loading", "result"]


async def test_a_job_runs_on_the_model_that_it_asks_for(
    service: Service, worker: ScriptedWorker, tmp_path: Path
) -> None:
    folder = unet_model(tmp_path / "models" / "mine")
    await service.submit(GenerationRequest(prompt="x", model="mine"), ANN)
    run = worker.submitted[0]
    assert (run.model.path, run.request.model, run.request.width) == (folder, "mine", 512)


async def test_a_model_that_is_not_here_is_refused_with_those_that_are(service: Service) -> None:
    with pytest.raises(UnknownModel, match="model: there is no 'nonsense' here. It can be embedded, "):
        await service.submit(GenerationRequest(prompt="x", model="nonsense"), ANN)
    with pytest.raises(NotOnDisk, match="model: sd-1.5 is not on disk yet"):
        await service.submit(GenerationRequest(prompt="x", model="sd-1.5"), ANN)
    assert service.jobs.queue() == []


async def test_a_model_that_is_gone_when_its_turn_comes_fails_its_job_and_no_other(
    service: Service, worker: ScriptedWorker, tmp_path: Path
) -> None:
    folder = unet_model(tmp_path / "models" / "mine")
    first = await service.submit(REQUEST, ANN)
    lost = await service.submit(GenerationRequest(prompt="x", model="mine"), ANN)
    last = await service.submit(REQUEST, ANN)
    folder.rename(tmp_path / "elsewhere")
    worker.tell(first, result())
    failed = (await seen(service, lost))[-1]
    assert isinstance(failed, Failed) and failed.code == "unknown_model"
    await until(lambda: worker.current == last)


async def test_loras_go_to_the_worker_by_their_own_names(
    service: Service, worker: ScriptedWorker, tmp_path: Path
) -> None:
    file = lora(tmp_path / "models" / "loras" / "mine.safetensors")
    await service.submit(GenerationRequest(prompt="x", loras=(LoraUse(lora="mine.safetensors", weight=0.5),)), ANN)
    run = worker.submitted[0]
    assert run.request.loras == (LoraUse(lora="mine", weight=0.5),)
    (adapter,) = run.adapters
    assert (adapter.path, adapter.weight, adapter.kind) == (file, 0.5, "lora")


@pytest.fixture
async def dressing(worker: ScriptedWorker, tmp_path: Path) -> AsyncIterator[Service]:
    """A studio whose catalogue has the embedded model once more, with a LoRA and another number of steps."""
    lora(tmp_path / "models" / "loras" / "mine.safetensors")
    lora(tmp_path / "models" / "loras" / "other.safetensors")
    place = {"path": str(EMBEDDED), "pipeline": "StableDiffusionPipeline"}
    wears = [{"lora": "mine.safetensors", "weight": 0.5}]
    entry = {"id": "dressed", "name": "Dressed", **place, "steps": 4, "loras": wears}
    (tmp_path / "models" / "catalogue.json").write_text(json.dumps([entry]))
    async with ready(new_service(tmp_path, worker, max_running=9), worker) as service:
        yield service


async def worn(service: Service, worker: ScriptedWorker, **fields: Any) -> list[tuple[str, float]]:
    """What a job with the dressed model puts on."""
    before = len(worker.submitted)
    await service.submit(GenerationRequest(prompt="x", model="dressed", **fields), ANN)
    await until(lambda: len(worker.submitted) > before)
    run = worker.submitted[-1]
    assert [(use.lora, use.weight) for use in run.request.loras] == [(each.id, each.weight) for each in run.adapters]
    return [(use.lora, use.weight) for use in run.request.loras]


async def test_a_model_of_the_catalogue_may_wear_loras(dressing: Service, worker: ScriptedWorker) -> None:
    assert await worn(dressing, worker) == [("mine", 0.5)]
    assert await worn(dressing, worker, loras=(LoraUse(lora="other"),)) == [("mine", 0.5), ("other", 1)]
    for name in ("mine", "mine.safetensors"):
        assert await worn(dressing, worker, loras=(LoraUse(lora=name, weight=0.8),)) == [("mine", 0.8)]


async def test_a_model_that_wears_loras_is_one_in_memory_with_that_which_does_not(
    dressing: Service, worker: ScriptedWorker
) -> None:
    await worn(dressing, worker)
    run = worker.submitted[-1]
    assert (run.request.model, run.request.steps, run.model) == ("dressed", 4, dressing.stock.model("embedded")[1])
    worker.report(Held(models=("embedded",)))
    await until(lambda: dressing.stock.held.models)
    states = {status.model.id: status.state for status in dressing.stock.models()}
    assert states["dressed"] == states["embedded"] == "in memory"
    await dressing.stock.unload_model("dressed", ANN)
    assert worker.released == ["embedded"]


async def test_a_model_whose_lora_is_not_here_is_not_here(dressing: Service, tmp_path: Path) -> None:
    (tmp_path / "models" / "loras" / "mine.safetensors").unlink()
    states = {status.model.id: status.state for status in dressing.stock.models()}
    assert (states["dressed"], states["embedded"]) == ("absent", "on disk")
    with pytest.raises(NotOnDisk, match="model: dressed is not on disk"):
        await dressing.submit(GenerationRequest(prompt="x", model="dressed"), ANN)


async def test_a_lora_for_another_model_is_refused_by_name(service: Service, tmp_path: Path) -> None:
    lora(tmp_path / "models" / "loras" / "mine.safetensors", width=2048)
    with pytest.raises(InvalidRequest, match="loras: mine was made for Stable Diffusion XL, and the model embedded is"):
        await service.submit(GenerationRequest(prompt="x", loras=(LoraUse(lora="mine"),)), ANN)


async def test_a_lora_that_is_not_here_is_refused_by_name(service: Service) -> None:
    with pytest.raises(InvalidRequest, match="there is no 'nonsense' here"):
        await service.submit(GenerationRequest(prompt="x", loras=(LoraUse(lora="nonsense"),)), ANN)


async def test_a_worker_that_loses_hope_while_a_request_is_looked_at_leaves_no_job_behind(
    service: Service, worker: ScriptedWorker
) -> None:
    """Nothing would ever end it."""
    submitting = asyncio.create_task(service.submit(REQUEST, ANN))
    await asyncio.sleep(0)
    worker.gone("no device")
    await asyncio.wait([submitting])
    await settled()
    assert service.jobs.queue() == []
    with suppress(WorkerUnavailable):
        assert (await seen(service, await submitting))[-1].type == "error"


async def test_what_the_worker_holds_is_known_until_it_is_gone(service: Service, worker: ScriptedWorker) -> None:
    worker.report(Held(models=("embedded",), memory={"cpu": 5}))
    await until(lambda: service.stock.held.models)
    assert service.stock.models()[0].state == "in memory"
    worker.gone()
    await until(lambda: not service.stock.held.models)
    assert service.stock.models()[0].state == "on disk"
