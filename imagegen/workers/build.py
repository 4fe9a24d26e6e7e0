"""Builds the workers that the settings ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from imagegen.schema.models import ModelSource
from imagegen.settings import Settings
from imagegen.workers.base import Worker
from imagegen.workers.devices import list_devices, name_workers, parse_device
from imagegen.workers.messages import WorkerConfig
from imagegen.workers.pool import WorkerPool


def create_worker(settings: Settings, model: ModelSource, create: Callable[[WorkerConfig], Worker]) -> Worker:
    """Returns one worker per device: by itself, or in a pool when there are several. `model` is loaded first.

    An inline worker runs in this process and has it for itself: there is only one.
    """
    devices = settings.device if settings.worker == "inline" else list_devices(settings.device)
    workers = [create(config) for config in build_configs(settings, model, devices)]
    return workers[0] if len(workers) == 1 else WorkerPool(workers)


def build_configs(settings: Settings, model: ModelSource, devices: Sequence[str]) -> list[WorkerConfig]:
    """Returns the configuration of the worker of each device."""
    configs = []
    for name, device in zip(name_workers(devices), devices, strict=True):
        kind, index = parse_device(device)
        config = WorkerConfig(
            name=name,
            model=model,
            data_dir=settings.data_dir.resolve(),
            device=kind,
            gpu_index=index,
            worker_count=len(devices),
            gpu_memory_gb=settings.gpu_memory_gb,
            memory_gb=settings.memory_gb,
            worker_memory_gb=settings.worker_memory_gb,
            low_memory=settings.low_memory,
            exact=settings.exact,
            compile=settings.compile,
            heartbeat_timeout=settings.heartbeat_timeout,
            step_timeout=settings.step_timeout,
            log_format=settings.log_format,
            log_file=build_log_file(settings.log_dir, name if len(devices) > 1 else ""),
        )
        configs.append(config)
    return configs


def build_log_file(folder: Path | None, name: str) -> Path | None:
    """Returns worker.jsonl in the folder, or a file of its own for each of several workers. Each file rotates."""
    file_name = f"worker-{name.replace(':', '-')}.jsonl" if name else "worker.jsonl"
    return folder.resolve() / file_name if folder is not None else None
