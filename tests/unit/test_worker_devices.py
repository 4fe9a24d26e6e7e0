"""Devices become workers: their names, their configurations, and the GPU that each child process sees."""

import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from imagegen.schema.models import ModelSource
from imagegen.settings import Settings
from imagegen.workers.build import create_worker
from imagegen.workers.devices import count_driver_gpus, count_gpus, list_devices, name_workers, parse_device, select_gpu
from imagegen.workers.inline import InlineWorker
from imagegen.workers.local import LocalWorker, build_environment
from imagegen.workers.messages import WorkerConfig
from imagegen.workers.pool import WorkerPool

MODEL = ModelSource(id="mine", name="Mine", pipeline="StableDiffusionPipeline", path=Path("/models/mine"))


def build_worker_configs(**settings: object) -> list[WorkerConfig]:
    """Returns the configuration of each worker that the settings ask for."""
    configs: list[WorkerConfig] = []

    def create(config: WorkerConfig) -> LocalWorker:
        configs.append(config)
        return LocalWorker(config)

    create_worker(Settings.model_validate(settings), MODEL, create)
    return configs


@pytest.mark.parametrize(
    ("gpu_count", "devices"), [(0, ("auto",)), (1, ("auto",)), (3, ("cuda:0", "cuda:1", "cuda:2"))]
)
def test_auto_is_one_worker_unless_there_are_several_gpus(gpu_count: int, devices: tuple[str, ...]) -> None:
    assert list_devices(("auto",), lambda: gpu_count) == devices


def test_devices_that_are_named_are_not_counted() -> None:
    def count() -> int:
        raise AssertionError

    assert list_devices(("cuda:1", "cpu"), count) == ("cuda:1", "cpu")


@pytest.mark.parametrize(("error", "counted"), [(0, 3), (100, 0)])
def test_gpus_are_counted_by_the_driver(tmp_path: Path, error: int, counted: int) -> None:
    source, driver = tmp_path / "driver.c", tmp_path / "driver.so"
    source.write_text(
        f"int cuInit(unsigned flags) {{ return {error}; }}\nint cuDeviceGetCount(int *n) {{ *n = 3; return 0; }}\n"
    )
    subprocess.run(["g++", "-shared", "-fPIC", "-x", "c", source, "-o", driver], check=True)
    assert count_driver_gpus(str(driver)) == counted


def test_without_a_driver_there_are_no_gpus(tmp_path: Path) -> None:
    assert count_driver_gpus(str(tmp_path / "missing.so")) == 0


def test_torch_for_cpus_uses_no_gpus() -> None:
    assert count_gpus() == 0 or not version("torch").endswith("+cpu")


def test_workers_are_named_after_their_devices() -> None:
    assert name_workers(["cuda:0", "cuda:1", "cpu"]) == ("cuda:0", "cuda:1", "cpu")
    assert name_workers(["cpu", "cpu", "cpu"]) == ("cpu", "cpu:1", "cpu:2")


def test_a_device_has_a_type_and_perhaps_a_number() -> None:
    assert [parse_device(device) for device in ("cuda:12", "cuda", "auto")] == [
        ("cuda", 12), ("cuda", None), ("auto", None),
    ]  # fmt: skip


def test_a_gpu_is_selected_among_those_that_are_visible() -> None:
    assert select_gpu(1, None) == "1"
    assert select_gpu(1, "4, 6") == "6"
    assert select_gpu(0, "MIG-abc,MIG-def") == "MIG-abc"
    assert select_gpu(2, "4,6") == "-1"
    assert select_gpu(0, "") == ""


def test_one_device_needs_no_pool() -> None:
    assert isinstance(create_worker(Settings(), MODEL, InlineWorker), InlineWorker)
    assert isinstance(create_worker(Settings(device=("cpu",)), MODEL, LocalWorker), LocalWorker)


def test_several_devices_are_a_pool_with_a_worker_on_each() -> None:
    pool = create_worker(Settings(device=("cuda:0", "cuda:1")), MODEL, LocalWorker)
    assert isinstance(pool, WorkerPool) and pool.names == ("cuda:0", "cuda:1")
    configs = build_worker_configs(device="cuda:0,cuda:1", memory_gb=8)
    assert [(each.name, each.device, each.gpu_index, each.worker_count) for each in configs] == [
        ("cuda:0", "cuda", 0, 2),
        ("cuda:1", "cuda", 1, 2),
    ]


def test_each_of_several_workers_has_a_log_file_of_its_own(tmp_path: Path) -> None:
    one = build_worker_configs(device="cpu", log_dir=tmp_path)
    several = build_worker_configs(device="cpu,cpu", log_dir=tmp_path)
    assert [each.log_file for each in one] == [tmp_path / "worker.jsonl"]
    assert [each.log_file for each in several] == [tmp_path / "worker-cpu.jsonl", tmp_path / "worker-cpu-1.jsonl"]
    assert build_worker_configs(device="cpu")[0].log_file is None


def test_a_child_sees_its_gpu_alone_and_no_secrets() -> None:
    first, second = build_worker_configs(device="cuda:0,cuda:1")
    environment = {"CUDA_VISIBLE_DEVICES": "5,7", "HF_TOKEN": "hf_secret", "PATH": "/bin"}
    assert build_environment(first, environment)["CUDA_VISIBLE_DEVICES"] == "5"
    assert build_environment(second, environment)["CUDA_VISIBLE_DEVICES"] == "7"
    assert build_environment(second, {})["CUDA_VISIBLE_DEVICES"] == "1"
    assert build_environment(second, environment)["PATH"] == "/bin"
    assert "hf_secret" not in build_environment(second, environment).values()


def test_without_a_number_a_child_sees_what_the_studio_sees() -> None:
    (config,) = build_worker_configs(device="cuda")
    assert "CUDA_VISIBLE_DEVICES" not in build_environment(config, {})
    assert build_environment(config, {"CUDA_VISIBLE_DEVICES": "3"})["CUDA_VISIBLE_DEVICES"] == "3"
