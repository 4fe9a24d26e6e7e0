"""Models and adapters: listing, loading and unloading, and who may do so."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imagegen.errors import (
    AdministratorRequired,
    ImageGenError,
    InvalidRequest,
    LoadStopped,
    UnknownModel,
    UnusableModel,
    WorkerUnavailable,
)
from imagegen.model_manager import ModelManager
from imagegen.schema.base import User
from imagegen.schema.models import AdapterKind, LoadProgress
from imagegen.schema.request import GenerationRequest
from imagegen.service import Service
from imagegen.settings import Settings
from imagegen.storage.files import ImageStore
from imagegen.storage.storage import Storage
from imagegen.workers.messages import ModelsInMemory, ModelWarmed
from tests.doubles import ScriptedWorker, make_library
from tests.hub.upscalers import make_compact, write_upscaler
from tests.unit.model_files import (
    make_snapshot_folder,
    write_controlnet,
    write_detector,
    write_embedding,
    write_ip_adapter,
    write_json,
    write_lora,
    write_tensors,
    write_unet_model,
    write_vae,
)
from tests.unit.settled_service import SettledService
from tests.unit.wait import let_tasks_settle, wait_until_true

OWNER, GUEST = User(id="owner", is_administrator=True), User(id="guest")
PARAMETRIZE_KIND = pytest.mark.parametrize("kind", ["lora", "embedding"])


@pytest.fixture
def worker() -> ScriptedWorker:
    return ScriptedWorker()


@pytest.fixture
async def service(tmp_path: Path, worker: ScriptedWorker) -> AsyncIterator[Service]:
    storage = Storage(tmp_path / "jobs.sqlite")
    service = SettledService(Settings(data_dir=tmp_path), make_library(tmp_path), storage, ImageStore(tmp_path), worker)
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
async def model_manager(service: Service, worker: ScriptedWorker) -> ModelManager:
    worker.report_ready()
    await wait_until_true(lambda: service.worker_state == "ready")
    return service.model_manager


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


async def collect_load_progress(model_manager: ModelManager, reference: str, user: User = GUEST) -> list[LoadProgress]:
    return [load_progress async for load_progress in model_manager.models.load(reference, user)]


async def start_loading(
    model_manager: ModelManager, worker: ScriptedWorker, reference: str
) -> asyncio.Task[list[LoadProgress]]:
    """Starts loading a model, and waits until the worker has the command."""
    before = len(worker.warmed)
    task = asyncio.create_task(collect_load_progress(model_manager, reference))
    await wait_until_true(lambda: task.done() or len(worker.warmed) > before)
    return task


def adapter(models: Path, kind: AdapterKind, name: str) -> Path:
    make = write_lora if kind == "lora" else write_embedding
    return make(models / f"{kind}s" / f"{name}.safetensors")


async def test_the_default_is_the_embedded_model(model_manager: ModelManager) -> None:
    assert model_manager.get_default().id == "embedded"
    info, source = model_manager.resolve_model(None)
    assert (info.id, source.id) == ("embedded", "embedded")


async def test_models_are_listed_with_where_they_are(
    model_manager: ModelManager, worker: ScriptedWorker, models: Path
) -> None:
    write_unet_model(models / "mine")
    states = {status.model.id: status.state for status in model_manager.list_models()}
    assert (states["embedded"], states["mine"], states["sd-1.5"]) == ("on disk", "on disk", "absent")
    worker.emit_report(ModelsInMemory(worker="cpu", models=("mine",)))
    await wait_until_true(model_manager.memory.registry.list_models)
    assert {status.model.id for status in model_manager.list_models() if status.state == "in memory"} == {"mine"}


async def test_listings_show_what_the_owner_could_delete(model_manager: ModelManager, models: Path) -> None:
    write_unet_model(models / "mine")
    write_unet_model(make_snapshot_folder(models / "hub", "someone/thing"))
    deletable = {status.model.id: status.deletable for status in model_manager.list_models()}
    assert (deletable["embedded"], deletable["mine"], deletable["someone/thing"]) == (False, False, True)


async def test_a_model_on_disk_is_loaded_when_the_worker_reports_it(
    model_manager: ModelManager, worker: ScriptedWorker, models: Path
) -> None:
    folder = write_unet_model(models / "mine")
    task = await start_loading(model_manager, worker, "mine")
    await let_tasks_settle()
    assert not task.done()
    assert [source.path for source in worker.warmed] == [folder]
    worker.report_warmed("mine")
    assert [(step.id, step.doing) for step in await task] == [("mine", "loading"), ("mine", "done")]


async def test_any_user_may_load_a_model_on_disk(model_manager: ModelManager, worker: ScriptedWorker) -> None:
    task = await start_loading(model_manager, worker, "embedded")
    worker.report_warmed("embedded")
    assert (await task)[-1].doing == "done"


async def test_concurrent_loads_of_a_model_share_one_load(model_manager: ModelManager, worker: ScriptedWorker) -> None:
    first = await start_loading(model_manager, worker, "embedded")
    second = asyncio.create_task(collect_load_progress(model_manager, "embedded"))
    await let_tasks_settle()
    assert len(worker.warmed) == 1
    worker.report_warmed("embedded")
    assert [(await task)[-1].doing for task in (first, second)] == ["done", "done"]


async def test_loading_does_not_end_with_another_model(
    model_manager: ModelManager, worker: ScriptedWorker, models: Path
) -> None:
    write_unet_model(models / "mine")
    task = await start_loading(model_manager, worker, "mine")
    other = await start_loading(model_manager, worker, "embedded")
    worker.report_warmed("embedded")
    await other
    assert not task.done()
    worker.report_warmed("mine")
    await task


async def test_a_load_that_is_cancelled_leaves_the_other_loads_alone(
    model_manager: ModelManager, worker: ScriptedWorker
) -> None:
    impatient = await start_loading(model_manager, worker, "embedded")
    patient = asyncio.create_task(collect_load_progress(model_manager, "embedded"))
    await let_tasks_settle()
    impatient.cancel()
    await let_tasks_settle()
    worker.report_warmed("embedded")
    assert (await patient)[-1].doing == "done"


async def test_any_user_stops_a_load_for_all_who_wait(model_manager: ModelManager, worker: ScriptedWorker) -> None:
    first = await start_loading(model_manager, worker, "embedded")
    second = asyncio.create_task(collect_load_progress(model_manager, "embedded"))
    await let_tasks_settle()
    assert model_manager.models.get("embedded").loading
    await model_manager.models.unload("embedded", GUEST)
    for task in (first, second):
        with pytest.raises(LoadStopped):
            await asyncio.wait_for(task, 5)
    assert worker.cancelled_warms == worker.warm_ids
    assert worker.released == ["embedded"]
    assert not model_manager.models.get("embedded").loading


async def test_a_load_that_was_stopped_does_not_end_the_next_one(
    model_manager: ModelManager, worker: ScriptedWorker
) -> None:
    stopped = await start_loading(model_manager, worker, "embedded")
    await model_manager.models.unload("embedded", GUEST)
    with pytest.raises(LoadStopped):
        await stopped
    task = await start_loading(model_manager, worker, "embedded")
    worker.emit_report(ModelWarmed(worker="cpu", warm_id=worker.warm_ids[0]))
    await let_tasks_settle()
    assert not task.done()
    worker.report_warmed("embedded")
    assert (await task)[-1].doing == "done"


async def test_a_model_that_waits_for_the_worker_is_stopped_too(service: Service, worker: ScriptedWorker) -> None:
    task = asyncio.create_task(collect_load_progress(service.model_manager, "embedded"))
    await wait_until_true(lambda: service.model_manager.models.get("embedded").loading)
    await service.model_manager.models.unload("embedded", GUEST)
    with pytest.raises(LoadStopped):
        await asyncio.wait_for(task, 5)
    assert worker.warmed == []


async def test_a_model_that_cannot_be_loaded_fails_with_its_own_code(
    model_manager: ModelManager, worker: ScriptedWorker
) -> None:
    task = await start_loading(model_manager, worker, "embedded")
    worker.report_warmed("embedded", code="out_of_memory", message="There was not enough memory.")
    with pytest.raises(ImageGenError, match="There was not enough memory") as failed:
        await task
    assert failed.value.code == "out_of_memory"


async def test_a_message_from_the_worker_may_hold_any_character(
    model_manager: ModelManager, worker: ScriptedWorker
) -> None:
    task = await start_loading(model_manager, worker, "embedded")
    worker.report_warmed("embedded", code="model_broken", message="{x} {0} %s")
    with pytest.raises(ImageGenError) as failed:
        await task
    assert str(failed.value) == "{x} {0} %s"


async def test_a_worker_that_dies_fails_what_it_was_loading(
    model_manager: ModelManager, worker: ScriptedWorker
) -> None:
    task = await start_loading(model_manager, worker, "embedded")
    worker.report_gone()
    with pytest.raises(ImageGenError) as failed:
        await asyncio.wait_for(task, 5)
    assert failed.value.code == "worker_lost"


async def test_while_the_worker_warms_up_a_model_waits_for_it(service: Service, worker: ScriptedWorker) -> None:
    task = asyncio.create_task(collect_load_progress(service.model_manager, "embedded"))
    await let_tasks_settle()
    assert worker.warmed == [] and not task.done()
    worker.report_ready()
    await wait_until_true(lambda: worker.warmed)
    worker.report_warmed("embedded")
    assert (await task)[-1].doing == "done"


async def test_loading_fails_when_the_worker_cannot_start(service: Service, worker: ScriptedWorker) -> None:
    task = asyncio.create_task(collect_load_progress(service.model_manager, "embedded"))
    worker.report_gone("no device")
    with pytest.raises(WorkerUnavailable, match="no device"):
        await asyncio.wait_for(task, 5)


async def test_loading_ends_when_the_studio_stops(service: Service, worker: ScriptedWorker) -> None:
    worker.report_ready()
    task = await start_loading(service.model_manager, worker, "embedded")
    await service.stop()
    done, _ = await asyncio.wait([task], timeout=2)
    task.cancel()
    assert done


@pytest.mark.parametrize("reference", ["sd-1.5", "someone/thing", "someone/thing/file.safetensors"])
async def test_a_guest_may_not_download_models(
    model_manager: ModelManager, worker: ScriptedWorker, reference: str
) -> None:
    with pytest.raises(AdministratorRequired, match="Only an administrator of this studio may download models"):
        await collect_load_progress(model_manager, reference)
    assert worker.warmed == [] and not model_manager.library.downloads.running


@PARAMETRIZE_KIND
async def test_a_guest_may_not_download_adapters(model_manager: ModelManager, kind: AdapterKind) -> None:
    with pytest.raises(AdministratorRequired, match="Only an administrator of this studio may download"):
        [step async for step in model_manager.resources[kind].load("someone/thing", GUEST)]
    assert not model_manager.library.downloads.running


@pytest.mark.parametrize("user", [OWNER, GUEST])
@pytest.mark.parametrize("reference", ["nonsense", "../outside", "loras", "x" * 300])
async def test_an_unknown_name_is_refused_with_the_known_names(
    model_manager: ModelManager, worker: ScriptedWorker, reference: str, user: User
) -> None:
    with pytest.raises(UnknownModel, match="It can be embedded, embedded-fast, sd-1.5"):
        await collect_load_progress(model_manager, reference, user)
    with pytest.raises(UnknownModel, match="It can be embedded, embedded-fast, sd-1.5"):
        await model_manager.models.unload(reference, user)
    for kind in ("lora", "embedding"):
        with pytest.raises(UnknownModel):
            [step async for step in model_manager.resources[kind].load(reference, user)]
        with pytest.raises(UnknownModel):
            await model_manager.resources[kind].unload(reference, user)
    assert worker.warmed == [] and worker.released == []


async def test_a_model_that_is_not_whole_is_not_given_to_the_worker(
    model_manager: ModelManager, worker: ScriptedWorker, models: Path
) -> None:
    (write_unet_model(models / "mine") / "vae" / "config.json").unlink()
    with pytest.raises(UnusableModel, match="vae/config.json is missing"):
        await collect_load_progress(model_manager, "mine")
    assert worker.warmed == []


async def test_any_user_may_free_memory(model_manager: ModelManager, worker: ScriptedWorker) -> None:
    await model_manager.models.unload("embedded", GUEST)
    assert worker.released == ["embedded"]


async def test_a_model_is_freed_by_its_repository_too(model_manager: ModelManager, worker: ScriptedWorker) -> None:
    await model_manager.models.unload("stable-diffusion-v1-5/stable-diffusion-v1-5", GUEST)
    assert worker.released == ["sd-1.5"]


async def test_a_guest_may_not_delete_models(model_manager: ModelManager, worker: ScriptedWorker, models: Path) -> None:
    folder = write_unet_model(make_snapshot_folder(models / "hub", "someone/thing"))
    with pytest.raises(AdministratorRequired, match="Only an administrator of this studio may delete models"):
        await model_manager.models.unload("someone/thing", GUEST, delete=True)
    assert folder.exists() and worker.released == []


async def test_the_owner_may_delete_what_was_downloaded(
    model_manager: ModelManager, worker: ScriptedWorker, models: Path
) -> None:
    folder = write_unet_model(make_snapshot_folder(models / "hub", "someone/thing"))
    await model_manager.models.unload("someone/thing", OWNER, delete=True)
    assert not folder.exists() and worker.released == ["someone/thing"]


async def test_only_downloads_can_be_deleted(model_manager: ModelManager, models: Path) -> None:
    folder = write_unet_model(models / "mine")
    for reference in ("embedded", "mine"):
        with pytest.raises(InvalidRequest, match="was not downloaded by the studio"):
            await model_manager.models.unload(reference, OWNER, delete=True)
    assert folder.exists()


@PARAMETRIZE_KIND
async def test_an_adapter_on_disk_is_looked_into_and_listed(
    model_manager: ModelManager, models: Path, kind: AdapterKind
) -> None:
    adapter(models, kind, "mine")
    assert "mine" in [info.id for info in model_manager.list_adapters(kind)]
    load_events = [step async for step in model_manager.resources[kind].load("mine.safetensors", GUEST)]
    assert load_events[-1] == LoadProgress(id="mine", doing="done")


@PARAMETRIZE_KIND
async def test_a_file_that_is_no_adapter_is_refused(
    model_manager: ModelManager, models: Path, kind: AdapterKind
) -> None:
    adapter(models, kind, "mine").write_bytes(b"nothing")
    with pytest.raises(UnusableModel, match="mine cannot be used: it is not a complete safetensors file"):
        [step async for step in model_manager.resources[kind].load("mine", GUEST)]


@PARAMETRIZE_KIND
async def test_a_guest_may_not_delete_adapters(model_manager: ModelManager, models: Path, kind: AdapterKind) -> None:
    file = adapter(models, kind, "mine")
    with pytest.raises(AdministratorRequired, match="Only an administrator of this studio may delete"):
        await model_manager.resources[kind].unload("mine", GUEST, delete=True)
    assert file.exists()
    await model_manager.resources[kind].unload("mine", GUEST)


@PARAMETRIZE_KIND
async def test_the_owner_may_delete_adapters_that_were_downloaded(
    model_manager: ModelManager, models: Path, kind: AdapterKind
) -> None:
    make = write_lora if kind == "lora" else write_embedding
    file = make(make_snapshot_folder(models / "hub", "someone/thing") / "file.safetensors")
    await model_manager.resources[kind].unload("someone/thing", OWNER, delete=True)
    assert not file.exists()


async def test_the_adapters_of_a_request_are_resolved_with_their_weights(
    model_manager: ModelManager, models: Path
) -> None:
    adapter(models, "lora", "neon")
    adapter(models, "embedding", "cat")
    request = {"prompt": "a cat", "loras": [{"lora": "neon", "weight": -0.5}], "embeddings": ["cat"]}
    adapters = model_manager.resolve_request_adapters(GenerationRequest.model_validate(request))
    assert [(each.kind, each.id, each.weight) for each in adapters] == [("lora", "neon", -0.5), ("embedding", "cat", 1)]


@pytest.fixture
async def two_workers(tmp_path: Path) -> AsyncIterator[tuple[ModelManager, ScriptedWorker]]:
    """A manager over two ready workers."""
    worker = ScriptedWorker("cpu", "cpu:1")
    storage = Storage(tmp_path / "jobs.sqlite")
    service = SettledService(Settings(data_dir=tmp_path), make_library(tmp_path), storage, ImageStore(tmp_path), worker)
    await service.start()
    for name in worker.names:
        worker.report_ready(name)
    await wait_until_true(lambda: set(service.worker_states.values()) == {"ready"})
    yield service.model_manager, worker
    await service.stop()


async def test_a_model_is_in_memory_when_any_worker_has_it(two_workers: tuple[ModelManager, ScriptedWorker]) -> None:
    model_manager, worker = two_workers
    worker.emit_report(ModelsInMemory(worker="cpu:1", models=("embedded",)))
    worker.emit_report(ModelsInMemory(worker="cpu", models=()))
    await wait_until_true(model_manager.memory.registry.list_models)
    assert model_manager.models.get("embedded").state == "in memory"
    worker.report_gone(worker="cpu:1")
    await wait_until_true(lambda: model_manager.models.get("embedded").state == "on disk")


async def test_a_model_is_loaded_by_the_worker_that_has_it(two_workers: tuple[ModelManager, ScriptedWorker]) -> None:
    model_manager, worker = two_workers
    worker.emit_report(ModelsInMemory(worker="cpu:1", models=("embedded",)))
    await wait_until_true(model_manager.memory.registry.list_models)
    task = await start_loading(model_manager, worker, "embedded")
    assert worker.warming_workers == ["cpu:1"]
    worker.report_warmed("embedded")
    assert (await task)[-1].doing == "done"


async def test_another_worker_that_dies_does_not_fail_what_is_being_loaded(
    two_workers: tuple[ModelManager, ScriptedWorker],
) -> None:
    model_manager, worker = two_workers
    task = await start_loading(model_manager, worker, "embedded")
    (loading,) = worker.warming_workers
    worker.report_gone(worker="cpu:1" if loading == "cpu" else "cpu")
    await let_tasks_settle()
    assert not task.done()
    worker.report_gone(worker=loading)
    with pytest.raises(ImageGenError) as failed:
        await asyncio.wait_for(task, 5)
    assert failed.value.code == "worker_lost"


async def test_unloading_waits_until_no_worker_has_the_model(two_workers: tuple[ModelManager, ScriptedWorker]) -> None:
    model_manager, worker = two_workers
    for name in worker.names:
        worker.emit_report(ModelsInMemory(worker=name, models=("embedded",)))
    await wait_until_true(model_manager.memory.registry.list_models)
    task = asyncio.create_task(model_manager.models.unload("embedded", GUEST))
    await wait_until_true(lambda: worker.released == ["embedded"])
    worker.emit_report(ModelsInMemory(worker="cpu", models=()))
    await let_tasks_settle()
    assert not task.done()
    worker.emit_report(ModelsInMemory(worker="cpu:1", models=()))
    await asyncio.wait_for(task, 2)


async def test_every_kind_of_resource_is_listed_and_described_the_same_way(
    model_manager: ModelManager, models: Path
) -> None:
    adapter(models, "lora", "mine")
    adapter(models, "embedding", "mine")
    write_controlnet(models / "controlnets" / "mine")
    write_ip_adapter(models / "ip_adapters" / "mine.safetensors")
    write_vae(models / "vaes" / "mine")
    write_detector(models / "detectors" / "mine")
    write_json(models / "preprocessors" / "mine" / "config.json", {"architectures": ["DPTForDepthEstimation"]})
    write_tensors(models / "preprocessors" / "mine" / "model.safetensors", {"weight": (1, 1)})
    write_unet_model(models / "mine")
    write_upscaler(models / "upscalers/mine.safetensors", make_compact().state_dict())
    assert list(model_manager.resources) == [
        "model",
        "lora",
        "embedding",
        "controlnet",
        "ip_adapter",
        "vae",
        "detector",
        "preprocessor",
        "upscaler",
    ]
    for resource in model_manager.resources.values():
        described = resource.get("mine")
        assert isinstance(described, resource.info_type)
        assert described in resource.list_all()
