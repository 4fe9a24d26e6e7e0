"""Whether a model runs on this machine, by its size and the memory of the workers."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch

from imagegen.engine.models.budget import MemoryBudget
from imagegen.library.memory_estimate import assess_fit, count_weights
from imagegen.schema.models import RunsHere, WorkerMemory
from imagegen.workers.messages import WorkerReady
from tests.doubles import make_library
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio
from tests.unit.model_files import write_unet_model
from tests.unit.wait import wait_until_true

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[InProcessStudio]:
    async with run_in_process_studio(tmp_path) as studio:
        yield studio


def describe_gpu(gpu_gb: float, memory_gb: float, low_memory: str = "auto") -> WorkerMemory:
    budget = MemoryBudget(gpu_gb * 1e9, memory_gb * 1e9, low_memory, memory_gb * 1e9, has_device_memory=True)
    return budget.describe(GPU, torch.bfloat16)


def describe_cpu(memory_gb: float) -> WorkerMemory:
    return MemoryBudget(memory_gb * 1e9, memory_gb * 1e9, max_model_bytes=memory_gb * 1e9).describe(CPU, torch.float32)


@pytest.mark.parametrize(
    ("memory", "model", "answer"),
    [
        # sd-xl-base takes 7 GB with two bytes for each weight, and flux.1-dev takes 34.
        (describe_gpu(24, 64), "sd-xl-base", "yes"),
        (describe_gpu(24, 64), "flux.1-dev", "slow"),
        (describe_gpu(24, 16), "flux.1-dev", "too large"),
        (describe_gpu(24, 64, "off"), "flux.1-dev", "too large"),
        (describe_gpu(24, 64, "layers"), "sd-xl-base", "slow"),
        (describe_cpu(16), "sd-xl-base", "slow"),
        # On a CPU each weight takes four bytes.
        (describe_cpu(8), "sd-xl-base", "too large"),
    ],
)
def test_a_model_of_the_catalogue_is_compared_with_a_worker(
    tmp_path: Path, memory: WorkerMemory, model: str, answer: RunsHere
) -> None:
    found = make_library(tmp_path).models.get(model)
    assert assess_fit(found.info, found.source, [memory]) == answer


def test_the_best_worker_counts_and_without_one_nothing_is_known(tmp_path: Path) -> None:
    info = make_library(tmp_path).models.get("flux.1-dev").info
    assert assess_fit(info, None, [describe_cpu(1), describe_gpu(80, 64)]) == "yes"
    assert assess_fit(info, None, []) is None
    assert assess_fit(info.model_copy(update={"memory_gb": None}), None, [describe_cpu(1)]) is None


def test_the_weights_of_a_model_on_disk_are_counted(tmp_path: Path) -> None:
    write_unet_model(tmp_path / "models" / "mine")
    found = make_library(tmp_path).models.get("mine")
    assert found.source is not None
    size = count_weights(found.source) * 4
    limits = WorkerMemory(full_speed_bytes=size, max_bytes=size, bytes_per_weight=4)
    assert assess_fit(found.info, found.source, [limits]) == "yes"
    less = limits.model_copy(update={"full_speed_bytes": size - 1, "max_bytes": size - 1})
    assert assess_fit(found.info, found.source, [less]) == "too large"


async def test_the_list_of_models_says_what_runs_here(studio: InProcessStudio) -> None:
    async def ask(model: str) -> str | None:
        models = (await studio.client_without_token.get("/v1/models/list")).json()
        answers: dict[str, str | None] = {each["model"]["id"]: each["runs_here"] for each in models}
        return answers[model]

    assert await ask("embedded") is None, "the worker has not said what fits"
    studio.worker.emit_report(WorkerReady(worker="cpu", device="cpu", dtype="float32", memory=describe_cpu(16)))
    await wait_until_true(studio.service.workers.list_memories)
    assert [await ask(model) for model in ("embedded", "sd-xl-base", "flux.1-dev")] == ["yes", "slow", "too large"]
