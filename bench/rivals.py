"""Contenders in processes of their own, asked in turns, so that a busy machine is busy for all of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from typing import Any

import numpy as np
import torch

from bench.timing import processors


@dataclass
class Rival:
    """One contender. What it is told to do is a method of bench.contenders.Session.

    `started` is what it said when its model was there.
    """

    name: str
    process: subprocess.Popen[str]
    started: dict[str, Any] = field(default_factory=dict)

    def do(self, what: str, **options: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        print(json.dumps({"do": what, **options}), file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the contender {self.name} ended with {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def rivals(
    names: list[str], model: str, scratch: Path, device: str, compiled: Path | None = None
) -> Iterator[list[Rival]]:
    """With `compiled` they compile their networks; ours keeps them in that folder."""
    options = ["--device", device, *(["--compile", str(compiled)] if compiled else [])]
    if model.startswith("thin"):
        options += ["--threads", "1"]  # With so few channels more of them only wait for each other.
    with ExitStack() as processes:
        found = []
        for name in names:
            command = [sys.executable, "-m", "bench.contenders", name, model, str(scratch), *options]
            process = processes.enter_context(subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True))
            found.append(Rival(name, process))
        for rival in found:
            rival.started = rival.answer()
        yield found
        for rival in found:
            assert rival.process.stdin is not None
            rival.process.stdin.close()


def psnr(first: Path, second: Path) -> float:
    """Between two pictures, in dB; 99 when they are the same."""
    a, b = (np.load(file).astype(np.float64) for file in (first, second))
    error = float(((a - b) ** 2).mean())
    return 99.0 if error == 0 else min(99.0, round(10 * np.log10(255**2 / error), 1))


def machine(device: str) -> str:
    where = torch.cuda.get_device_name() if torch.cuda.is_available() and device != "cpu" else "no GPU"
    return f"{processors()}, {where}, torch {torch.__version__}"
