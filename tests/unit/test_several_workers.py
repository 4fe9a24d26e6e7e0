"""The service with two workers: where jobs run, and what is left when one worker dies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imagegen.errors import WorkerDied, WorkerUnavailable
from imagegen.schema.base import User
from imagegen.schema.events import Failed, Progress
from imagegen.schema.request import GenerationRequest
from imagegen.workers.messages import ModelsInMemory, WorkerReady
from tests.doubles import make_result
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio
from tests.unit.model_files import write_unet_model
from tests.unit.stored_jobs import list_unfinished_ids, read_job
from tests.unit.wait import let_tasks_settle, wait_until_true

ANN, BOB = User(id="ann"), User(id="bob")
FIRST, SECOND = "cpu", "cpu:1"


class TwoWorkerHarness:
    """A studio with two workers, each with one of two models in memory, and room for one job each."""

    def __init__(self, studio: InProcessStudio) -> None:
        self.studio, self.service, self.worker = studio, studio.service, studio.worker

    async def start(self) -> None:
        self.worker.report_ready(SECOND)
        self.worker.emit_report(ModelsInMemory(worker=FIRST, models=("embedded",)))
        self.worker.emit_report(ModelsInMemory(worker=SECOND, models=("mine",)))
        await wait_until_true(lambda: self.service.workers.list_models() == {"embedded", "mine"})

    async def submit(self, model: str, user: User = ANN, **fields: object) -> str:
        request = {"prompt": "a red circle", "model": model, **fields}
        job_id = await self.service.submit(GenerationRequest.model_validate(request), user)
        await let_tasks_settle()
        return job_id

    def get_worker(self, job_id: str) -> str | None:
        """Returns where a job was sent; None while it waits."""
        return self.worker.worker_by_job.get(job_id)

    async def finish(self, job_id: str) -> None:
        self.worker.emit_event(job_id, make_result())
        await wait_until_true(lambda: read_job(self.service, job_id).state == "done")

    async def kill(self, worker: str, *job_ids: str) -> None:
        """Sends the reports of a worker that dies while it runs these jobs."""
        self.worker.report_gone(worker=worker)
        error = WorkerDied()
        for job_id in job_ids:
            self.worker.emit_event(job_id, Failed(code=error.code, message=str(error)))
        await wait_until_true(lambda: self.service.worker_states[worker] == "warming up")
        await let_tasks_settle()

    def get_state(self, job_id: str) -> str:
        return read_job(self.service, job_id).state


@pytest.fixture
async def two_workers(tmp_path: Path) -> AsyncIterator[TwoWorkerHarness]:
    write_unet_model(tmp_path / "models" / "mine")
    async with run_in_process_studio(tmp_path, workers=(FIRST, SECOND), output_cache=True) as studio:
        harness = TwoWorkerHarness(studio)
        await harness.start()
        yield harness


async def test_each_job_runs_where_its_model_is(two_workers: TwoWorkerHarness) -> None:
    mine, embedded = await two_workers.submit("mine"), await two_workers.submit("embedded")
    assert two_workers.get_worker(mine) == SECOND
    assert two_workers.get_worker(embedded) == FIRST


async def test_each_worker_runs_as_many_jobs_as_the_setting_says(two_workers: TwoWorkerHarness) -> None:
    running = [await two_workers.submit("mine"), await two_workers.submit("embedded")]
    waiting = await two_workers.submit("embedded")
    assert [two_workers.get_state(job_id) for job_id in (*running, waiting)] == ["running", "running", "queued"]
    await two_workers.finish(running[1])
    await wait_until_true(lambda: two_workers.get_worker(waiting) == FIRST)


async def test_a_job_waits_for_the_worker_with_its_model_only_for_a_moment(two_workers: TwoWorkerHarness) -> None:
    await two_workers.submit("embedded")
    second = await two_workers.submit("embedded")
    assert two_workers.get_worker(second) is None
    await wait_until_true(lambda: two_workers.get_worker(second) == SECOND)


async def test_the_preference_for_a_worker_does_not_change_whose_turn_it_is(two_workers: TwoWorkerHarness) -> None:
    running = [await two_workers.submit("embedded"), await two_workers.submit("mine")]
    again = await two_workers.submit("mine")
    of_another_user = await two_workers.submit("embedded", BOB)
    await two_workers.finish(running[1])
    await wait_until_true(lambda: two_workers.get_worker(of_another_user) is not None)
    assert two_workers.get_worker(of_another_user) == SECOND
    assert two_workers.get_worker(again) is None


async def test_a_worker_that_dies_fails_its_own_job_only(two_workers: TwoWorkerHarness) -> None:
    victim, other = await two_workers.submit("embedded"), await two_workers.submit("mine")
    await two_workers.kill(FIRST, victim)
    assert [two_workers.get_state(job_id) for job_id in (victim, other)] == ["failed", "running"]
    assert two_workers.service.worker_state == "ready"
    await two_workers.finish(other)


async def test_while_a_worker_restarts_the_other_runs_all_jobs(two_workers: TwoWorkerHarness) -> None:
    await two_workers.kill(FIRST)
    job_id = await two_workers.submit("embedded")
    assert two_workers.get_worker(job_id) == SECOND
    following = await two_workers.submit("embedded")
    assert two_workers.get_worker(following) is None
    two_workers.worker.report_ready(FIRST)
    await wait_until_true(lambda: two_workers.get_worker(following) == FIRST)


async def test_the_queue_fails_only_when_no_worker_is_left(two_workers: TwoWorkerHarness) -> None:
    two_workers.worker.report_gone("no memory.", FIRST)
    await wait_until_true(lambda: two_workers.service.worker_states[FIRST] == "unavailable")
    running, waiting = await two_workers.submit("mine"), await two_workers.submit("mine")
    assert [two_workers.get_state(job_id) for job_id in (running, waiting)] == ["running", "queued"]
    two_workers.worker.report_gone("no device.", SECOND)
    await wait_until_true(lambda: two_workers.service.worker_state == "unavailable")
    await wait_until_true(lambda: two_workers.get_state(waiting) == "failed")
    with pytest.raises(WorkerUnavailable, match=r"cpu: no memory\. cpu:1: no device\."):
        await two_workers.submit("mine")


async def test_cancelling_and_previews_reach_the_worker_of_the_job(two_workers: TwoWorkerHarness) -> None:
    job_id = await two_workers.submit("mine")
    two_workers.worker.emit_event(job_id, Progress(step=1, steps=2))
    await two_workers.service.cancel(job_id, ANN)
    assert two_workers.worker.cancelled == [job_id]
    await wait_until_true(lambda: two_workers.get_state(job_id) == "cancelled")


async def test_a_cached_output_of_any_ready_worker_is_an_answer(two_workers: TwoWorkerHarness) -> None:
    done = two_workers.studio.finish_job(await two_workers.submit("mine", seed=7))
    await wait_until_true(lambda: list_unfinished_ids(two_workers.service, "ann") == [])
    await two_workers.kill(FIRST)
    two_workers.worker.emit_report(WorkerReady(worker=FIRST, device="cuda", dtype="float16"))
    await wait_until_true(lambda: two_workers.service.worker_states[FIRST] == "ready")
    again = await two_workers.submit("mine", seed=7)
    event = await two_workers.service.get_latest_event(again, ANN)
    assert event.model_dump()["pictures"][0]["id"] == done.pictures[0].id


async def test_an_output_of_a_worker_that_is_gone_is_no_answer(two_workers: TwoWorkerHarness) -> None:
    await two_workers.kill(FIRST)
    two_workers.worker.emit_report(WorkerReady(worker=FIRST, device="cuda", dtype="float16"))
    await wait_until_true(lambda: two_workers.service.worker_states[FIRST] == "ready")
    two_workers.studio.finish_job(await two_workers.submit("mine", seed=7))
    await wait_until_true(lambda: list_unfinished_ids(two_workers.service, "ann") == [])
    await two_workers.kill(SECOND)
    again = await two_workers.submit("mine", seed=7)
    assert two_workers.get_worker(again) == FIRST


async def test_readyz_names_the_workers_where_there_are_several(two_workers: TwoWorkerHarness, tmp_path: Path) -> None:
    client = two_workers.studio.client_without_token
    await two_workers.kill(SECOND)
    answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "workers": {"cpu": "ready", "cpu:1": "warming up"}}
    await two_workers.kill(FIRST)
    assert (await client.get("/readyz")).status_code == 503
    async with run_in_process_studio(tmp_path / "alone") as alone:
        assert (await alone.client_without_token.get("/readyz")).json() == {"status": "ready"}
