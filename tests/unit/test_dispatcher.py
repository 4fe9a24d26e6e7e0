"""What a job needs is resolved once, in a thread, and kept with the job."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from imagegen.library.adapters import AdapterIndex
from imagegen.library.library import Library
from imagegen.library.weight_files import compute_sha256
from imagegen.schema.base import User
from imagegen.schema.events import Failed
from imagegen.schema.models import AdapterSource
from imagegen.schema.receipt import RequestedAs
from imagegen.schema.request import GenerationRequest, LoraUse
from imagegen.settings import Settings
from imagegen.storage.files import ImageStore
from imagegen.storage.storage import Storage
from tests.doubles import ScriptedWorker, make_library, make_result
from tests.unit.model_files import write_lora
from tests.unit.settled_service import SettledService
from tests.unit.stored_jobs import change_rows, read_job
from tests.unit.wait import let_tasks_settle, wait_until_true

ANN, BOB = User(id="ann"), User(id="bob")
REQUEST = GenerationRequest(prompt="a red circle")
WITH_LORA = GenerationRequest(prompt="a red circle", loras=(LoraUse(lora="mine"),))
LONG_SECONDS = 20.0


class SlowLoras(AdapterIndex):
    """LoRAs whose checksums take until the test says so, as those of huge files do."""

    def __init__(self, library: Library) -> None:
        loras = library.adapters["lora"]
        super().__init__("lora", loras.folders, loras.snapshots)
        self.released = threading.Event()
        self.asked_count = 0

    def get_source(self, reference: str, weight: float = 1.0) -> AdapterSource:
        self.asked_count += 1
        if not self.released.wait(LONG_SECONDS):
            raise TimeoutError("the event loop was blocked")
        return super().get_source(reference, weight)


class Studio:
    """A service over a folder, with its worker and its LoRAs."""

    def __init__(self, folder: Path) -> None:
        self.worker, library = ScriptedWorker(), make_library(folder)
        self.loras = SlowLoras(library)
        library.adapters["lora"] = self.loras
        self.service = SettledService(
            Settings(data_dir=folder, max_running=2),
            library,
            Storage(folder / "jobs.sqlite"),
            ImageStore(folder),
            self.worker,
        )

    @property
    def submitted_ids(self) -> list[str]:
        return [order.job_id for order in self.worker.submitted]

    async def get_ready(self) -> None:
        self.worker.report_ready()
        await wait_until_true(lambda: self.service.worker_state == "ready")

    async def wait_for_end(self, job_id: str, user: User = ANN) -> object:
        return [event async for event in self.service.events(job_id, user)][-1]


@asynccontextmanager
async def run_studio(folder: Path) -> AsyncIterator[Studio]:
    studio = Studio(folder)
    await studio.service.start()
    yield studio
    studio.loras.released.set()
    await studio.service.stop()
    studio.service.storage.close()


@pytest.fixture
def lora_file(tmp_path: Path) -> Path:
    return write_lora(tmp_path / "models" / "loras" / "mine.safetensors")


def change_file(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


async def leave_queued_job(folder: Path) -> str:
    """Queues a job with a LoRA in a studio that stops before its turn, and returns its id."""
    async with run_studio(folder) as studio:
        studio.loras.released.set()
        return await studio.service.submit(WITH_LORA, ANN)


def forget_sources(studio: Studio) -> None:
    """Leaves the job as an older version stored it."""
    change_rows(studio.service, "UPDATE jobs SET sources = NULL")


@pytest.fixture
async def older(tmp_path: Path, lora_file: Path) -> AsyncIterator[tuple[Studio, str]]:
    """A studio that is ready, and a job with a LoRA that an older version had queued."""
    job_id = await leave_queued_job(lora_file.parents[2])
    async with run_studio(tmp_path) as studio:
        forget_sources(studio)
        await studio.get_ready()
        await wait_until_true(lambda: studio.loras.asked_count)
        yield studio, job_id


async def test_the_event_loop_goes_on_while_the_lora_of_an_old_job_is_read(older: tuple[Studio, str]) -> None:
    studio, job_id = older
    other = await asyncio.wait_for(studio.service.submit(REQUEST, BOB), LONG_SECONDS / 4)
    assert studio.submitted_ids == [other], "the job of another user runs meanwhile"
    studio.worker.emit_event(other, make_result())
    await studio.wait_for_end(other, BOB)
    assert (await studio.service.get_job(job_id, ANN)).state == "queued"
    studio.loras.released.set()
    await wait_until_true(lambda: studio.submitted_ids == [other, job_id])
    assert studio.loras.asked_count == 1


async def test_an_old_job_runs_with_its_lora_and_keeps_it_for_the_next_start(
    older: tuple[Studio, str], lora_file: Path
) -> None:
    studio, job_id = older
    studio.loras.released.set()
    await wait_until_true(lambda: studio.worker.submitted)
    (adapter,) = studio.worker.submitted[0].adapters
    assert (adapter.id, adapter.sha256) == ("mine", compute_sha256(lora_file))
    sources = read_job(studio.service, job_id).sources
    assert sources is not None and sources.adapters == (adapter,)


async def test_an_old_job_that_is_cancelled_while_its_lora_is_read_does_not_run(older: tuple[Studio, str]) -> None:
    studio, job_id = older
    await studio.service.cancel(job_id, ANN)
    studio.loras.released.set()
    other = await studio.service.submit(REQUEST, ANN)
    await let_tasks_settle()
    assert studio.submitted_ids == [other]
    assert (await studio.service.get_job(job_id, ANN)).state == "cancelled"


async def test_an_old_job_whose_lora_has_gone_fails_alone(older: tuple[Studio, str], lora_file: Path) -> None:
    studio, job_id = older
    other = await studio.service.submit(REQUEST, ANN)
    await asyncio.to_thread(lora_file.unlink)
    studio.loras.released.set()
    failed = await studio.wait_for_end(job_id)
    assert isinstance(failed, Failed) and failed.code == "unknown_model"
    assert failed.message.startswith("loras: there is no 'mine' here")
    await wait_until_true(lambda: studio.submitted_ids == [other])


async def test_files_that_were_resolved_before_a_restart_are_not_read_again(tmp_path: Path, lora_file: Path) -> None:
    job_id = await leave_queued_job(tmp_path)
    async with run_studio(tmp_path) as studio:
        await studio.get_ready()
        await wait_until_true(lambda: studio.submitted_ids == [job_id])
        assert studio.worker.submitted[0].adapters[0].sha256 == compute_sha256(lora_file)
        assert studio.loras.asked_count == 0


async def test_a_lora_that_has_changed_since_is_read_again(tmp_path: Path, lora_file: Path) -> None:
    await leave_queued_job(tmp_path)
    change_file(lora_file)
    async with run_studio(tmp_path) as studio:
        studio.loras.released.set()
        await studio.get_ready()
        await wait_until_true(lambda: studio.worker.submitted)
        assert studio.worker.submitted[0].adapters[0].sha256 == compute_sha256(lora_file)


async def test_the_worker_learns_what_was_requested_also_when_the_lora_has_changed_since(
    tmp_path: Path, lora_file: Path
) -> None:
    requested = RequestedAs(model="dall-e-3", size="1024x1024")
    async with run_studio(tmp_path) as studio:
        studio.loras.released.set()
        await studio.service.submit(WITH_LORA, ANN, requested=requested)
    change_file(lora_file)
    async with run_studio(tmp_path) as studio:
        studio.loras.released.set()
        await studio.get_ready()
        await wait_until_true(lambda: studio.worker.submitted)
        assert studio.worker.submitted[0].requested == requested


@pytest.mark.usefixtures("lora_file")
@pytest.mark.parametrize("stored_sources", ["no JSON", '{"model_of_tomorrow": 1}'])
async def test_sources_that_cannot_be_read_are_resolved_again(tmp_path: Path, stored_sources: str) -> None:
    job_id = await leave_queued_job(tmp_path)
    async with run_studio(tmp_path) as studio:
        change_rows(studio.service, "UPDATE jobs SET sources = ?", (stored_sources,))
        studio.loras.released.set()
        await studio.get_ready()
        await wait_until_true(lambda: studio.submitted_ids == [job_id])


async def test_old_jobs_are_resolved_one_at_a_time(tmp_path: Path, lora_file: Path) -> None:
    jobs = [await leave_queued_job(lora_file.parents[2]) for _ in range(2)]
    async with run_studio(tmp_path) as studio:
        forget_sources(studio)
        await studio.get_ready()
        await let_tasks_settle()
        assert studio.loras.asked_count == 1 and studio.submitted_ids == []
        studio.loras.released.set()
        await wait_until_true(lambda: studio.submitted_ids == jobs)


async def test_a_studio_can_stop_while_a_lora_is_read(older: tuple[Studio, str]) -> None:
    studio, job_id = older
    await asyncio.wait_for(studio.service.stop(), LONG_SECONDS / 4)
    assert read_job(studio.service, job_id).state == "queued"
