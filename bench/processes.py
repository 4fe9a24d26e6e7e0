"""What the benches ask of other processes. Linux tells it under /proc."""

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
LOOK = 0.02
TICK = 1 / os.sysconf("SC_CLK_TCK")


def processor_seconds(pid: int) -> float:
    """What a process has used of processors so far in its own code."""
    # The name in the second field may have spaces in it.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[11]) * TICK


def peak_memory_mb(pid: int) -> float:
    found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    assert found is not None
    return int(found[1]) / 1024


def resident_mb() -> float:
    """Of this process, now."""
    return float(psutil.Process().memory_info().rss / 2**20)


@contextmanager
def looks_at_memory() -> Iterator[list[float]]:
    """What this process took within the block, in MiB, at one look after another."""
    seen, over = [resident_mb()], threading.Event()

    def look() -> None:
        while not over.wait(LOOK):
            seen.append(resident_mb())

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def spent_seconds(pid: int) -> float:
    """What a process has used of processors so far, to the nanosecond, in its own code and in the system's."""
    return time.clock_gettime((~pid << 3) | 2)  # How Linux names the clock of another process.
