"""Models and adapters: listed, brought to the device, sent away; and who may do so."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imagegen.errors import ImageGenError, InvalidRequest, NotAllowed, UnknownModel, UnusableModel, WorkerUnavailable
from imagegen.images import ImageStore
from imagegen.info import AdapterKind, Step
from imagegen.jobs import JobStore
from imagegen.schema import GenerationRequest, User
from imagegen.service import Service
from imagegen.settings import Settings
from imagegen.stock import Stock
from imagegen.workers.messages import Held, Warmed
from tests.doubles import ScriptedWorker, library
from tests.unit.folders import embedding, lora, snapshot, unet_model
from tests.unit.waiting import settled, until

OWNER, GUEST = User(id="owner", is_administrator=True), User(id="guest")
KINDS = pytest.mark.parametrize("kind", ["lora", "embedding"])


@pytest.fixture
def worker() -> ScriptedWorker:
    return ScriptedWorker()


@pytest.fixture
async def service(tmp_path: Path, worker: ScriptedWorker) -> AsyncIterator[Service]:
    jobs = JobStore(tmp_path / "jobs.sqlite")
    service = Service(Settings(data_dir=tmp_path), library(tmp_path), jobs, ImageStore(tmp_path), worker)
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
async def stock(service: Service, worker: ScriptedWorker) -> Stock:
    worker.ready()
    await until(lambda: service.state == "ready")
    return service.stock


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


async def steps(stock: Stock, reference: str, user: User = GUEST) -> list[Step]:
    return [step async for step in stock.load_model(reference, user)]


async def loading(stock: Stock, worker: ScriptedWorker, reference: str) -> asyncio.Task[list[Step]]:
    """Somebody loads a model; the worker has been told."""
    before = len(worker.warmed)
    task = asyncio.create_task(steps(stock, reference))
    await until(lambda: task.done() or len(worker.warmed) > before)
    return task


def adapter(models: Path, kind: AdapterKind, name: str) -> Path:
    make = lora if kind == "lora" else embedding
    return make(models / f"{kind}s" / f"{name}.safetensors")


async def test_the_default_is_the_embedded_model(stock: Stock) -> None:
    assert stock.default().id == "embedded"
    info, source = stock.model(None)
    assert (info.id, source.id) == ("embedded", "embedded")


async def test_models_are_listed_with_where_they_are(stock: Stock, worker: ScriptedWorker, models: Path) -> None:
    unet_model(models / "mine")
    states = {status.model.id: status.state for status in stock.models()}
    assert (states["embedded"], states["mine"], states["sd-1.5"]) == ("on disk", "on disk", "absent")
    worker.report(Held(models=("mine",)))
    await until(lambda: stock.held.models)
    assert {status.model.id for status in stock.models() if status.state == "in memory"} == {"mine"}


async def test_what_the_owner_could_delete_is_told(stock: Stock, models: Path) -> None:
    unet_model(models / "mine")
    unet_model(snapshot(models / "hub", "someone/thing"))
    deletable = {status.model.id: status.deletable for status in stock.models()}
    assert (deletable["embedded"], deletable["mine"], deletable["someone/thing"]) == (False, False, True)


async def test_a_model_on_disk_is_there_when_the_worker_says_so(
    stock: Stock, worker: ScriptedWorker, models: Path
) -> None:
    folder = unet_model(models / "mine")
    task = await loading(stock, worker, "mine")
    await settled()
    assert not task.done()
    assert [source.path for source in worker.warmed] == [folder]
    worker.report(Warmed(model_id="mine"))
    assert [(step.id, step.doing) for step in await task] == [("mine", "loading"), ("mine", "done")]


async def test_anybody_may_load_what_is_on_disk(stock: Stock, worker: ScriptedWorker) -> None:
    task = await loading(stock, worker, "embedded")
    worker.report(Warmed(model_id="embedded"))
    assert (await task)[-1].doing == "done"


async def test_whoever_loads_the_same_model_waits_for_the_same(stock: Stock, worker: ScriptedWorker) -> None:
    tasks = [await loading(stock, worker, "embedded") for _ in range(2)]
    worker.report(Warmed(model_id="embedded"))
    assert [(await task)[-1].doing for task in tasks] == ["done", "done"]


async def test_another_model_that_is_there_is_not_ours(stock: Stock, worker: ScriptedWorker, models: Path) -> None:
    unet_model(models / "mine")
    task = await loading(stock, worker, "mine")
    worker.report(Warmed(model_id="embedded"))
    await settled()
    assert not task.done()
    worker.report(Warmed(model_id="mine"))
    await task


async def test_who_does_not_wait_any_more_leaves_the_others_alone(stock: Stock, worker: ScriptedWorker) -> None:
    impatient, patient = [await loading(stock, worker, "embedded") for _ in range(2)]
    impatient.cancel()
    await settled()
    worker.report(Warmed(model_id="embedded"))
    assert (await patient)[-1].doing == "done"


async def test_a_model_that_cannot_be_loaded_fails_with_its_own_code(stock: Stock, worker: ScriptedWorker) -> None:
    task = await loading(stock, worker, "embedded")
    worker.report(Warmed(model_id="embedded", code="out_of_memory", message="There was not enough memory."))
    with pytest.raises(ImageGenError, match="There was not enough memory") as failed:
        await task
    assert failed.value.code == "out_of_memory"


async def test_a_message_from_the_worker_may_hold_any_character(stock: Stock, worker: ScriptedWorker) -> None:
    task = await loading(stock, worker, "embedded")
    worker.report(Warmed(model_id="embedded", code="model_broken", message="{x} {0} %s"))
    with pytest.raises(ImageGenError) as failed:
        await task
    assert str(failed.value) == "{x} {0} %s"


async def test_a_worker_that_goes_fails_what_it_was_loading(stock: Stock, worker: ScriptedWorker) -> None:
    task = await loading(stock, worker, "embedded")
    worker.gone()
    with pytest.raises(ImageGenError) as failed:
        await asyncio.wait_for(task, 5)
    assert failed.value.code == "worker_lost"


async def test_while_the_worker_warms_up_a_model_waits_for_it(service: Service, worker: ScriptedWorker) -> None:
    task = asyncio.create_task(steps(service.stock, "embedded"))
    await settled()
    assert worker.warmed == [] and not task.done()
    worker.ready()
    await until(lambda: worker.warmed)
    worker.report(Warmed(model_id="embedded"))
    assert (await task)[-1].doing == "done"


async def test_without_hope_for_the_worker_nobody_waits(service: Service, worker: ScriptedWorker) -> None:
    task = asyncio.create_task(steps(service.stock, "embedded"))
    worker.gone("no device")
    with pytest.raises(WorkerUnavailable, match="no device"):
        await asyncio.wait_for(task, 5)


async def test_when_the_studio_stops_nobody_waits(service: Service, worker: ScriptedWorker) -> None:
    worker.ready()
    task = await loading(service.stock, worker, "embedded")
    await service.stop()
    done, _ = await asyncio.wait([task], timeout=2)
    task.cancel()
    assert done


@pytest.mark.parametrize("reference", ["sd-1.5", "someone/thing", "someone/thing/file.safetensors"])
async def test_a_guest_may_not_download_models(stock: Stock, worker: ScriptedWorker, reference: str) -> None:
    with pytest.raises(NotAllowed, match="Only an administrator of this studio may download models"):
        await steps(stock, reference)
    assert worker.warmed == [] and not stock.library.downloads.running


@KINDS
async def test_a_guest_may_not_download_adapters(stock: Stock, kind: AdapterKind) -> None:
    with pytest.raises(NotAllowed, match="Only an administrator of this studio may download"):
        [step async for step in stock.load_adapter(kind, "someone/thing", GUEST)]
    assert not stock.library.downloads.running


@pytest.mark.parametrize("user", [OWNER, GUEST])
@pytest.mark.parametrize("reference", ["nonsense", "../outside", "loras", "x" * 300])
async def test_a_name_that_means_nothing_is_refused_with_those_that_do(
    stock: Stock, worker: ScriptedWorker, reference: str, user: User
) -> None:
    with pytest.raises(UnknownModel, match="It can be embedded, embedded-fast, sd-1.5"):
        await steps(stock, reference, user)
    with pytest.raises(UnknownModel, match="It can be embedded, embedded-fast, sd-1.5"):
        await stock.unload_model(reference, user)
    for kind in ("lora", "embedding"):
        with pytest.raises(UnknownModel):
            [step async for step in stock.load_adapter(kind, reference, user)]
        with pytest.raises(UnknownModel):
            await stock.unload_adapter(kind, reference, user)
    assert worker.warmed == [] and worker.released == []


async def test_a_model_that_is_not_whole_is_not_given_to_the_worker(
    stock: Stock, worker: ScriptedWorker, models: Path
) -> None:
    (unet_model(models / "mine") / "vae" / "config.json").unlink()
    with pytest.raises(UnusableModel, match="vae/config.json is missing"):
        await steps(stock, "mine")
    assert worker.warmed == []


async def test_anybody_may_free_memory(stock: Stock, worker: ScriptedWorker) -> None:
    await stock.unload_model("embedded", GUEST)
    assert worker.released == ["embedded"]


async def test_a_model_is_freed_by_its_repository_too(stock: Stock, worker: ScriptedWorker) -> None:
    await stock.unload_model("stable-diffusion-v1-5/stable-diffusion-v1-5", GUEST)
    assert worker.released == ["sd-1.5"]


async def test_a_guest_may_not_delete_models(stock: Stock, worker: ScriptedWorker, models: Path) -> None:
    folder = unet_model(snapshot(models / "hub", "someone/thing"))
    with pytest.raises(NotAllowed, match="Only an administrator of this studio may delete models"):
        await stock.unload_model("someone/thing", GUEST, delete=True)
    assert folder.exists() and worker.released == []


async def test_the_owner_may_delete_what_was_downloaded(stock: Stock, worker: ScriptedWorker, models: Path) -> None:
    folder = unet_model(snapshot(models / "hub", "someone/thing"))
    await stock.unload_model("someone/thing", OWNER, delete=True)
    assert not folder.exists() and worker.released == ["someone/thing"]


async def test_what_was_not_downloaded_is_deleted_by_nobody(stock: Stock, models: Path) -> None:
    folder = unet_model(models / "mine")
    for reference in ("embedded", "mine"):
        with pytest.raises(InvalidRequest, match="was not downloaded by the studio"):
            await stock.unload_model(reference, OWNER, delete=True)
    assert folder.exists()


@KINDS
async def test_an_adapter_on_disk_is_looked_into_and_listed(stock: Stock, models: Path, kind: AdapterKind) -> None:
    adapter(models, kind, "mine")
    assert "mine" in [info.id for info in stock.listed(kind)]
    told = [step async for step in stock.load_adapter(kind, "mine.safetensors", GUEST)]
    assert told[-1] == Step(id="mine", doing="done")


@KINDS
async def test_an_adapter_that_is_none_is_refused(stock: Stock, models: Path, kind: AdapterKind) -> None:
    adapter(models, kind, "mine").write_bytes(b"nothing")
    with pytest.raises(UnusableModel, match="mine cannot be used: it is no whole safetensors file"):
        [step async for step in stock.load_adapter(kind, "mine", GUEST)]


@KINDS
async def test_a_guest_may_not_delete_adapters(stock: Stock, models: Path, kind: AdapterKind) -> None:
    file = adapter(models, kind, "mine")
    with pytest.raises(NotAllowed, match="Only an administrator of this studio may delete"):
        await stock.unload_adapter(kind, "mine", GUEST, delete=True)
    assert file.exists()
    await stock.unload_adapter(kind, "mine", GUEST)


@KINDS
async def test_the_owner_may_delete_adapters_that_were_downloaded(
    stock: Stock, models: Path, kind: AdapterKind
) -> None:
    make = lora if kind == "lora" else embedding
    file = make(snapshot(models / "hub", "someone/thing") / "file.safetensors")
    await stock.unload_adapter(kind, "someone/thing", OWNER, delete=True)
    assert not file.exists()


async def test_what_a_request_puts_on_is_told_with_its_weight(stock: Stock, models: Path) -> None:
    adapter(models, "lora", "neon")
    adapter(models, "embedding", "cat")
    asked = {"prompt": "a cat", "loras": [{"lora": "neon", "weight": -0.5}], "embeddings": ["cat"]}
    worn = stock.adapters(GenerationRequest.model_validate(asked))
    assert [(each.kind, each.id, each.weight) for each in worn] == [("lora", "neon", -0.5), ("embedding", "cat", 1)]
