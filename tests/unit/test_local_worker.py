"""What a LocalWorker does when its child process ends, hangs, talks nonsense or cannot start."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from imagegen.schema.base import User
from imagegen.schema.events import Cancelled, Failed
from imagegen.schema.models import ModelSource
from imagegen.schema.request import GenerationRequest
from imagegen.service import Service
from imagegen.settings import Settings
from imagegen.storage.files import ImageStore
from imagegen.storage.storage import Storage
from imagegen.workers import local
from imagegen.workers.local import LocalWorker
from imagegen.workers.messages import WorkerConfig, WorkerReady
from imagegen.workers.pool import WorkerPool
from tests.doubles import make_library
from tests.unit.wait import wait_until_true

USER = User(id="ann")
READY = WorkerReady(worker="NAME", device="cpu", dtype="float32").model_dump_json()
# Children without an engine. Each reads its name from the first line, reports that it is ready, and then gets jobs.
PREAMBLE = f"""
import json, sys, threading, time
config = json.loads(sys.stdin.readline())
def say(text): sys.stdout.write(text + chr(10)); sys.stdout.flush()
def live():
    while True: time.sleep(0.2); say(json.dumps({{"type": "heartbeat", "worker": config["name"]}}))
def report_ready(): say({READY!r}.replace("NAME", config["name"]))
def finish(order, event={{"type": "cancelled"}}):
    say(json.dumps({{"type": "job", "worker": config["name"], "job_id": order["job_id"], "event": event}}))
"""
GIVING_UP = PREAMBLE + "say(json.dumps({'type': 'gone', 'worker': config['name'], 'reason': 'no GPU.'}))"
SILENT = PREAMBLE + "report_ready(); time.sleep(600)"
PREAMBLE += "threading.Thread(target=live, daemon=True).start(); report_ready()\n"
GOOD = PREAMBLE + "for text in sys.stdin: finish(json.loads(text))"
EXHAUSTED_EVENT = {"type": "error", "code": "out_of_memory", "message": "too little memory"}
EXHAUSTED = PREAMBLE + f"for text in sys.stdin: finish(json.loads(text), {EXHAUSTED_EVENT})"
DYING = PREAMBLE + "sys.stdin.readline()"
HANGING = PREAMBLE + "time.sleep(600)"
TALKING_NONSENSE = PREAMBLE + "sys.stdin.readline(); say('Segmentation fault'); time.sleep(600)"
TALKING_WITHOUT_END = PREAMBLE + "sys.stdin.readline(); sys.stdout.write('x' * 2**25); time.sleep(600)"


@pytest.fixture
def run_programs(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the children of each worker run the named programs, one after another; the last one from then on."""

    def run(**programs_by_worker: list[str]) -> None:
        async def start_child(config: WorkerConfig) -> Process:
            programs = programs_by_worker[config.name]
            program = programs.pop(0) if len(programs) > 1 else programs[0]
            if not program:
                raise BlockingIOError("Resource temporarily unavailable")
            return await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=PIPE, stdout=PIPE)

        monkeypatch.setattr(local, "start_child", start_child)

    return run


@asynccontextmanager
async def run_service(folder: Path, *names: str) -> AsyncIterator[Service]:
    """A service whose worker is a pool of LocalWorkers, with short time-outs and room for one job on each."""
    source = ModelSource(id="mine", name="Mine", pipeline="StableDiffusionPipeline", path=Path("/mine"))
    configs = [
        WorkerConfig(
            name=name, model=source, data_dir=folder, device="cpu", log_format="text",
            heartbeat_timeout=2.0, step_timeout=1.0,
        )
        for name in names
    ]  # fmt: skip
    service = Service(
        Settings(data_dir=folder, max_running=1, running_per_user=100, queued_per_user=100),
        make_library(folder),
        Storage(folder / "jobs.sqlite"),
        ImageStore(folder),
        WorkerPool([LocalWorker(config) for config in configs]),
    )
    await service.start()
    await wait_until_true(lambda: set(service.worker_states.values()) == {"ready"})
    yield service
    await service.stop()
    service.storage.close()


async def submit(service: Service, count: int) -> list[str]:
    return [await service.submit(GenerationRequest(prompt="a red circle"), USER) for _ in range(count)]


async def wait_for_end(service: Service, job_id: str) -> object:
    return [event async for event in service.events(job_id, USER)][-1]


async def list_codes(service: Service, job_ids: list[str]) -> list[str]:
    """Returns the error code of each job, "" for one that has not failed."""
    events = [await wait_for_end(service, job_id) for job_id in job_ids]
    return [event.code if isinstance(event, Failed) else "" for event in events]


async def test_a_death_fails_the_running_job_and_none_that_wait(
    tmp_path: Path, run_programs: Callable[..., None]
) -> None:
    run_programs(one=[DYING, GOOD])
    async with run_service(tmp_path, "one") as service:
        codes = await list_codes(service, await submit(service, 20))
    assert codes == ["worker_died"] + [""] * 19


async def test_a_death_fails_no_job_of_another_worker(tmp_path: Path, run_programs: Callable[..., None]) -> None:
    run_programs(one=[DYING, ""], two=[GOOD])
    async with run_service(tmp_path, "one", "two") as service:
        codes = await list_codes(service, await submit(service, 20))
    assert sorted(codes) == [""] * 19 + ["worker_died"]


@pytest.mark.parametrize("program", [SILENT, HANGING])
async def test_a_worker_that_hangs_is_restarted_and_its_job_says_so(
    tmp_path: Path, run_programs: Callable[..., None], program: str
) -> None:
    run_programs(one=[program, GOOD])
    async with run_service(tmp_path, "one") as service:
        codes = await list_codes(service, await submit(service, 3))
    assert codes == ["worker_hung", "", ""]


async def test_a_worker_on_which_job_after_job_runs_out_of_memory_is_restarted(
    tmp_path: Path, run_programs: Callable[..., None]
) -> None:
    run_programs(one=[EXHAUSTED, GOOD])
    async with run_service(tmp_path, "one") as service:
        codes = await list_codes(service, await submit(service, 5))
    assert codes == ["out_of_memory"] * 3 + ["", ""]


@pytest.mark.parametrize("program", [TALKING_NONSENSE, TALKING_WITHOUT_END])
async def test_a_worker_whose_output_is_no_report_is_restarted(
    tmp_path: Path, run_programs: Callable[..., None], program: str
) -> None:
    run_programs(one=[program, GOOD])
    async with run_service(tmp_path, "one") as service:
        codes = await list_codes(service, await submit(service, 3))
    assert codes == ["worker_died", "", ""]


async def test_a_child_that_cannot_be_started_at_once_is_started_later(
    tmp_path: Path, run_programs: Callable[..., None]
) -> None:
    run_programs(one=["", GOOD])
    async with run_service(tmp_path, "one") as service:
        (job_id,) = await submit(service, 1)
        assert isinstance(await wait_for_end(service, job_id), Cancelled)


async def test_a_worker_that_has_given_up_comes_back_when_the_cause_is_gone(
    tmp_path: Path, run_programs: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "RETRY_SECONDS", 0.1)
    run_programs(one=[DYING, GIVING_UP, GOOD])
    async with run_service(tmp_path, "one") as service:
        assert await list_codes(service, await submit(service, 2)) == ["worker_died", "worker_unavailable"]
        await wait_until_true(lambda: service.worker_state == "ready")
        assert await list_codes(service, await submit(service, 1)) == [""]
