"""The downloads that go on, for everyone who looks, and how they are stopped."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imagegen.errors import AdministratorRequired, DownloadStopped, HubRequestFailed
from imagegen.library.hub import DownloadPlan
from imagegen.schema.base import User
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio
from tests.unit.model_files import write_unet_model
from tests.unit.wait import wait_until_true

OWNER, GUEST = User(id="owner", is_administrator=True), User(id="guest")
MODEL = {"id": "mine", "name": "Mine", "path": "mine", "pipeline": "StableDiffusionPipeline"}


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[InProcessStudio]:
    """A studio with a model of its owner, which needs a LoRA of the Hub."""
    write_unet_model(tmp_path / "models" / "mine")
    catalogue = [MODEL | {"loras": [{"lora": "someone/thing"}]}]
    (tmp_path / "models" / "catalogue.json").write_text(json.dumps(catalogue))
    async with run_in_process_studio(tmp_path) as studio:
        yield studio


class SilentHub:
    """Answers with an error when `answer` is set."""

    def __init__(self) -> None:
        self.answer = threading.Event()

    def plan(self) -> DownloadPlan:
        self.answer.wait(30)
        raise HubRequestFailed("someone/thing", "the Hub is silent")


async def start_download(studio: InProcessStudio, hub: SilentHub) -> asyncio.Task[None]:
    downloads = studio.service.model_manager.library.downloads

    async def follow() -> None:
        async for _ in downloads.follow("lora", "someone/thing", hub.plan):
            pass

    task = asyncio.create_task(follow())
    await wait_until_true(downloads.list_all)
    return task


async def test_a_download_is_listed_until_it_ends(studio: InProcessStudio) -> None:
    hub = SilentHub()
    task = await start_download(studio, hub)
    listed = {"kind": "lora", "id": "someone/thing", "received": None, "size": None}
    assert (await studio.client_without_token.get("/v1/downloads")).json() == [listed]
    hub.answer.set()
    with pytest.raises(HubRequestFailed):
        await task
    assert (await studio.client_without_token.get("/v1/downloads")).json() == []


async def test_a_model_stops_the_download_of_its_lora(studio: InProcessStudio) -> None:
    hub = SilentHub()
    task = await start_download(studio, hub)
    models = studio.service.model_manager.models
    with pytest.raises(AdministratorRequired):
        await models.unload("mine", GUEST)
    stopping = asyncio.create_task(models.unload("mine", OWNER))
    hub.answer.set()
    with pytest.raises((DownloadStopped, HubRequestFailed)):
        await task
    await stopping
    assert studio.service.model_manager.list_downloads() == []


async def test_a_model_is_marked_while_a_worker_loads_it(studio: InProcessStudio) -> None:
    async def is_loading() -> bool:
        models = (await studio.client_without_token.get("/v1/models/list")).json()
        return {each["model"]["id"]: bool(each["loading"]) for each in models}["embedded"]

    assert not await is_loading()
    loading = asyncio.create_task(studio.client_without_token.post("/v1/models/load", json={"model": "embedded"}))
    await wait_until_true(lambda: studio.worker.warmed)
    assert await is_loading()
    studio.worker.report_warmed("embedded")
    assert (await loading).json()["loading"] is False
    assert not await is_loading()
