"""Where the engine runs, and how precisely."""

from __future__ import annotations

from collections.abc import Callable

import torch

from imagegen.errors import WorkerUnavailable

# In order of preference.
AVAILABLE: dict[str, Callable[[], bool]] = {
    "cuda": torch.cuda.is_available,
    "mps": torch.backends.mps.is_available,
    "cpu": lambda: True,
}


def chosen_device(wanted: str) -> torch.device:
    """The device of that name; "auto" takes the best there is. Raises WorkerUnavailable when it is missing."""
    if wanted == "auto":
        return torch.device(next(name for name, available in AVAILABLE.items() if available()))
    if wanted not in AVAILABLE:
        raise WorkerUnavailable(f"there is no device {wanted!r}; it can be auto, {', '.join(AVAILABLE)}.")
    if not AVAILABLE[wanted]():
        raise WorkerUnavailable(f"the device {wanted} was asked for, and this machine has none that torch can use.")
    return torch.device(wanted)


def dtype_for(device: torch.device) -> torch.dtype:
    """Half precision on a GPU, bfloat16 where it has it: float16 overflows sooner. A CPU is no faster with either."""
    if device.type == "cpu":
        return torch.float32
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float16
