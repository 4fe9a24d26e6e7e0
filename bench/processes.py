"""Processor time and memory of processes, read from /proc on Linux."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
SAMPLE_SECONDS = 0.02
SECONDS_PER_TICK = 1 / os.sysconf("SC_CLK_TCK")


def processor_seconds(pid: int) -> float:
    """Returns the processor seconds that a process has spent in its own code (user time)."""
    # The name in the second field may have spaces in it.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[11]) * SECONDS_PER_TICK


def peak_memory_mb(pid: int) -> float:
    """Returns the peak resident memory of a process in MiB."""
    match = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    assert match is not None
    return int(match[1]) / 1024


def resident_mb(pid: int | None = None) -> float:
    """Returns the resident memory of a process, by default of this one, in MiB."""
    return float(psutil.Process(pid).memory_info().rss / 2**20)


@contextmanager
def sample_memory(pid: int | None = None) -> Iterator[list[float]]:
    """Yields a list that grows by samples of a process's resident memory, in MiB, during the block."""
    samples, stopped = [resident_mb(pid)], threading.Event()

    def take_samples() -> None:
        while not stopped.wait(SAMPLE_SECONDS):
            samples.append(resident_mb(pid))

    watcher = threading.Thread(target=take_samples, daemon=True)
    watcher.start()
    try:
        yield samples
    finally:
        stopped.set()
        watcher.join()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def spent_seconds(pid: int) -> float:
    """Returns the processor seconds of a process, in its own code and in the kernel, to the nanosecond."""
    return time.clock_gettime((~pid << 3) | 2)  # Linux's id of the CPU clock of another process.
