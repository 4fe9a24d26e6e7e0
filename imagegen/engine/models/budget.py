"""How much memory models may take, on the device and in main memory."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from imagegen.schema.models import WorkerMemory

# Bytes that the GPU needs besides weights: for the activations of a pass, and for CUDA itself.
RESERVED_GPU_BYTES = 2.5e9
# With more bytes of weights than this, a CPU computes a picture in minutes.
FULL_SPEED_CPU_BYTES = 2e9
# The share of main memory that all workers together may use at most.
PROCESS_SHARE = 0.95
CGROUP_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class MemoryBudget:
    """Bytes that all models may take on the device and in main memory; on a CPU these are the same.

    `low_memory` is an OffloadMode or "auto". `max_model_bytes` is the most that one model may take of main memory.
    `has_device_memory` says whether the device has memory of its own.
    """

    device_bytes: float
    memory_bytes: float
    low_memory: str = "auto"
    max_model_bytes: float = math.inf
    has_device_memory: bool = False

    @classmethod
    def from_limits(
        cls,
        device: torch.device,
        gpu_memory_gb: float | None,
        memory_gb: float | None,
        low_memory: str,
        worker_count: int = 1,
    ) -> MemoryBudget:
        """Returns the budget of one worker. Limits are in units of 10^9 bytes; None takes what the machine has.

        Main memory is divided equally among `worker_count` workers. Each has its device for itself.
        """
        memory = compute_memory_budget(memory_gb) / worker_count
        max_model = compute_memory_budget(memory_gb, PROCESS_SHARE) / worker_count
        on_device = compute_gpu_budget(device, gpu_memory_gb) if device.type == "cuda" else memory
        return cls(on_device, memory, low_memory, max_model, device.type == "cuda")

    def describe(self, device: torch.device, dtype: torch.dtype) -> WorkerMemory:
        """Returns how large a model may be that runs at full speed, and one that runs at all."""
        if not self.has_device_memory:
            full_speed = FULL_SPEED_CPU_BYTES if device.type == "cpu" else self.memory_bytes
            limits = (min(full_speed, self.max_model_bytes), self.max_model_bytes)
        elif self.low_memory == "off":
            limits = (self.device_bytes, self.device_bytes)
        else:
            at_full_speed = self.device_bytes if self.low_memory == "auto" else 0
            limits = (at_full_speed, max(at_full_speed, self.max_model_bytes))
        return WorkerMemory(full_speed_bytes=limits[0], max_bytes=limits[1], bytes_per_weight=dtype.itemsize)


def compute_gpu_budget(device: torch.device, requested_gb: float | None) -> float:
    """Returns the bytes on the device that models may take."""
    if requested_gb is not None:
        return requested_gb * 1e9
    if device.type == "cuda":
        return max(float(torch.cuda.get_device_properties(device).total_memory) - RESERVED_GPU_BYTES, 1e9)
    return compute_memory_budget(None)


def compute_process_memory(requested_gb: float | None, worker_count: int) -> float:
    """Returns the bytes of main memory that one worker process may use in all."""
    return requested_gb * 1e9 if requested_gb is not None else compute_memory_budget(None, PROCESS_SHARE) / worker_count


def compute_memory_budget(requested_gb: float | None, share: float = 0.5) -> float:
    """Returns the bytes of main memory that models may take: a share of the machine's or of the container's limit."""
    if requested_gb is not None:
        return requested_gb * 1e9
    total = float(psutil.virtual_memory().total)
    with suppress(OSError, ValueError):
        total = min(total, float(CGROUP_MEMORY_LIMIT.read_text()))
    return total * share
