"""Contenders in separate processes that take turns, so that other load on the machine affects all of them equally."""

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

from bench.timing import describe_processors


@dataclass
class ContenderProcess:
    """The process of one contender. `started` is its first reply, sent when its model is loaded."""

    name: str
    process: subprocess.Popen[str]
    started: dict[str, Any] = field(default_factory=dict)

    def call(self, method: str, **options: Any) -> dict[str, Any]:
        """Calls a method of bench.contenders.Session in the process, and waits for its reply."""
        assert self.process.stdin is not None
        print(json.dumps({"do": method, **options}), file=self.process.stdin, flush=True)
        return self.read_reply()

    def read_reply(self) -> dict[str, Any]:
        """Returns the next line of the process as JSON. Raises RuntimeError if the process has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the contender {self.name} ended with {self.process.wait()}")
        reply: dict[str, Any] = json.loads(line)
        return reply


@contextmanager
def start_contenders(
    names: list[str], model: str, scratch: Path, device: str, compiled: Path | None = None
) -> Iterator[list[ContenderProcess]]:
    """Starts the contenders, and ends them after the block. With `compiled`, they compile their networks.

    `compiled` is the folder in which our engine caches compiled networks.
    """
    options = ["--device", device, *(["--compile", str(compiled)] if compiled else [])]
    if model.startswith("thin"):
        options += ["--threads", "1"]  # With so few channels, more threads only wait for each other.
    with ExitStack() as processes:
        contenders = []
        for name in names:
            command = [sys.executable, "-m", "bench.contenders", name, model, str(scratch), *options]
            process = processes.enter_context(subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True))
            contenders.append(ContenderProcess(name, process))
        for contender in contenders:
            contender.started = contender.read_reply()
        yield contenders
        for contender in contenders:
            assert contender.process.stdin is not None
            contender.process.stdin.close()


def psnr(first: Path, second: Path) -> float:
    """Returns the PSNR of two pictures in dB; 99 if they are equal."""
    a, b = (np.load(file).astype(np.float64) for file in (first, second))
    error = float(((a - b) ** 2).mean())
    return 99.0 if error == 0 else min(99.0, round(10 * np.log10(255**2 / error), 1))


def describe_machine(device: str) -> str:
    where = torch.cuda.get_device_name() if torch.cuda.is_available() and device != "cpu" else "no GPU"
    return f"{describe_processors()}, {where}, torch {torch.__version__}"
