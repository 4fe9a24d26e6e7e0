"""The device that training runs on, and its time limit."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeVar, cast

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)
# torch's names for CPUs that multiply in bfloat16, on x86 and on ARM.
BFLOAT16 = ("avx512_bf16", "bf16")


class OutOfTimeError(Exception):
    """The time is up. The state is saved, and the same command resumes from there."""


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Machine:
    """Training stops at `until`, in seconds since 1970; pictures are drawn in `workers` processes."""

    until: float = float("inf")
    device: torch.device = field(default_factory=best_device)
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)

    @property
    def fast(self) -> bool:
        return self.device.type == "cuda"

    def check_time(self) -> None:
        """Raises OutOfTimeError after `until`."""
        if time.time() > self.until:
            raise OutOfTimeError

    def autocast(self) -> AbstractContextManager[object]:
        """Returns autocasting to bfloat16 where the device supports it in hardware, else none."""
        able = self.fast or any(torch.cpu.get_capabilities().get(name) for name in BFLOAT16)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=able)

    def compile(self, module: Module) -> Module:
        """Returns the module, compiled on a GPU only: it pays off for thousands of steps of the same shapes."""
        return cast(Module, torch.compile(module, dynamic=False)) if self.fast else module
