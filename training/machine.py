"""What the training runs on, and until when."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeVar, cast

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)
# What torch calls a CPU that multiplies in bfloat16, on x86 and on ARM.
BFLOAT16 = ("avx512_bf16", "bf16")


class OutOfTimeError(Exception):
    """The time is up. What was learned is saved, and the same command goes on from there."""


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Machine:
    """Time is up at `until`, in seconds since 1970; drawing takes `workers` processes."""

    until: float = float("inf")
    device: torch.device = field(default_factory=best_device)
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)

    @property
    def fast(self) -> bool:
        return self.device.type == "cuda"

    def check_time(self) -> None:
        if time.time() > self.until:
            raise OutOfTimeError

    def autocast(self) -> AbstractContextManager[object]:
        """Products in bfloat16, sums and weights in float32; all in float32 where bfloat16 would be emulated."""
        able = self.fast or any(torch.cpu.get_capabilities().get(name) for name in BFLOAT16)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=able)

    def quick(self, module: Module) -> Module:
        """The same module, compiled where that saves more time than it takes: for thousands of lessons of one shape."""
        return cast(Module, torch.compile(module, dynamic=False)) if self.fast else module
