"""The engine's device and floating-point type."""

from __future__ import annotations

from collections.abc import Callable

import torch

from imagegen.errors import WorkerUnavailable

# In order of preference for "auto".
AVAILABILITY_CHECKS: dict[str, Callable[[], bool]] = {
    "cuda": torch.cuda.is_available,
    "mps": torch.backends.mps.is_available,
    "cpu": lambda: True,
}


def choose_device(requested: str) -> torch.device:
    """Returns the device of that name; "auto" selects the first available one.

    Raises WorkerUnavailable for an unknown name or a device that torch cannot use.
    """
    if requested == "auto":
        return torch.device(next(name for name, available in AVAILABILITY_CHECKS.items() if available()))
    if requested not in AVAILABILITY_CHECKS:
        raise WorkerUnavailable(f"there is no device {requested!r}; it can be auto, {', '.join(AVAILABILITY_CHECKS)}.")
    if not AVAILABILITY_CHECKS[requested]():
        raise WorkerUnavailable(f"torch cannot use the device {requested} on this machine.")
    return torch.device(requested)


def choose_dtype(device: torch.device) -> torch.dtype:
    """Returns float32 for a CPU, which gains nothing from less, and bfloat16 for a GPU.

    GPUs without bfloat16 get float16, which overflows sooner.
    """
    if device.type == "cpu":
        return torch.float32
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float16
