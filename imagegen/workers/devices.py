"""The devices of this machine, found without torch: the web process must not import it."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence

# Asks the CUDA driver in a process of its own, where it can hang or crash, and leaves no memory behind. It counts what
# torch would count, also where CUDA_VISIBLE_DEVICES or MIG change that.
CUDA_DRIVER = "libcuda.so.1"
COUNT_PROGRAM = """
import ctypes, sys
driver, count = ctypes.CDLL(sys.argv[1]), ctypes.c_int(0)
if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
    print(count.value)
"""
COUNT_TIMEOUT_SECONDS = 20.0


def count_gpus() -> int:
    """Returns how many GPUs torch can use on this machine; 0 without an NVIDIA driver or with torch for CPUs."""
    return 0 if importlib.metadata.version("torch").endswith("+cpu") else count_driver_gpus()


def count_driver_gpus(driver: str = CUDA_DRIVER) -> int:
    """Returns how many GPUs the CUDA driver has; 0 without a driver, and when it does not answer in time."""
    try:
        counting = subprocess.run(  # noqa: S603 The program is above.
            [sys.executable, "-I", "-S", "-c", COUNT_PROGRAM, driver],
            capture_output=True,
            timeout=COUNT_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return int(counting.stdout or 0)


def list_devices(requested: Sequence[str], count: Callable[[], int] = count_gpus) -> tuple[str, ...]:
    """Returns the device of each worker. "auto" becomes all GPUs if there are several, else it is one worker's."""
    if tuple(requested) != ("auto",):
        return tuple(requested)
    gpu_count = count()
    return tuple(f"cuda:{index}" for index in range(gpu_count)) if gpu_count > 1 else ("auto",)


def name_workers(devices: Sequence[str]) -> tuple[str, ...]:
    """Returns a name for each device's worker: the device, and a number where several have the same: cpu, cpu:1."""
    used: Counter[str] = Counter()
    names = []
    for device in devices:
        names.append(f"{device}:{used[device]}" if used[device] else device)
        used[device] += 1
    return tuple(names)


def parse_device(device: str) -> tuple[str, int | None]:
    """Returns the type of a device such as "cuda:1", and its number; None without one."""
    kind, _, index = device.partition(":")
    return kind, int(index) if index else None


def select_gpu(index: int, visible: str | None) -> str:
    """Returns the value of CUDA_VISIBLE_DEVICES that leaves one GPU; "-1", for none, when there is no such GPU.

    `visible` is the variable's value so far: `index` counts the GPUs in it.
    """
    if visible is None:
        return str(index)
    names = visible.split(",")
    return names[index].strip() if index < len(names) else "-1"
