"""What the reports say about each worker, and about all of them."""

import pytest

from imagegen.workers.messages import ModelsInMemory, WorkerGone, WorkerReady
from imagegen.workers.registry import WorkerRegistry


@pytest.fixture
def registry() -> WorkerRegistry:
    return WorkerRegistry(("cuda:0", "cuda:1"))


def report_ready(registry: WorkerRegistry, *workers: str) -> None:
    for worker in workers:
        registry.handle_report(WorkerReady(worker=worker, device="cuda", dtype="bfloat16"))


def test_the_studio_is_ready_while_any_worker_is(registry: WorkerRegistry) -> None:
    seen = [registry.state]
    report_ready(registry, "cuda:1")
    assert registry.states == {"cuda:0": "warming up", "cuda:1": "ready"}
    seen.append(registry.state)
    registry.handle_report(WorkerGone(worker="cuda:1"))
    assert [*seen, registry.state] == ["warming up", "ready", "warming up"]


def test_the_studio_is_unavailable_when_all_workers_are(registry: WorkerRegistry) -> None:
    registry.handle_report(WorkerGone(worker="cuda:0", reason="no device."))
    seen = [registry.state]
    registry.handle_report(WorkerGone(worker="cuda:1", reason="no memory."))
    assert [*seen, registry.state] == ["warming up", "unavailable"]
    assert registry.problem == "cuda:0: no device. cuda:1: no memory."


def test_the_problem_of_a_single_worker_has_no_name() -> None:
    registry = WorkerRegistry(("cpu",))
    registry.handle_report(WorkerGone(worker="cpu", reason="no device."))
    assert registry.problem == "no device."


def test_a_worker_that_dies_loses_its_own_models_only(registry: WorkerRegistry) -> None:
    report_ready(registry, "cuda:0", "cuda:1")
    registry.handle_report(ModelsInMemory(worker="cuda:0", models=("a",)))
    registry.handle_report(ModelsInMemory(worker="cuda:1", models=("a", "b")))
    assert registry.list_models() == {"a", "b"}
    registry.handle_report(WorkerGone(worker="cuda:1"))
    assert registry.list_models() == {"a"}
    assert [info.worker for info in registry.list_infos()] == ["cuda:0"]


def test_a_model_is_loaded_where_it_is_already(registry: WorkerRegistry) -> None:
    report_ready(registry, "cuda:0", "cuda:1")
    registry.handle_report(ModelsInMemory(worker="cuda:1", models=("a", "b")))
    registry.add_job("cuda:1", "job", "a")
    assert registry.choose_for_loading("b") == "cuda:1"


def test_a_model_that_is_nowhere_is_loaded_where_there_is_least_to_do(registry: WorkerRegistry) -> None:
    report_ready(registry, "cuda:0", "cuda:1")
    registry.add_job("cuda:0", "job", "a")
    assert registry.choose_for_loading("b") == "cuda:1"
    registry.remove_job("job")
    registry.handle_report(ModelsInMemory(worker="cuda:0", models=("a",)))
    assert registry.choose_for_loading("b") == "cuda:1"


def test_a_model_is_never_loaded_on_a_worker_that_is_not_ready(registry: WorkerRegistry) -> None:
    report_ready(registry, "cuda:0")
    assert registry.choose_for_loading("a") == "cuda:0"


def test_a_job_that_no_worker_has_can_be_removed(registry: WorkerRegistry) -> None:
    registry.remove_job("unknown")
    assert all(not status.model_by_job for status in registry.statuses.values())
