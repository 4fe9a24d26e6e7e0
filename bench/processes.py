"""What the benches ask of other processes. Linux tells it under /proc."""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
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


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def spent_seconds(pid: int) -> float:
    """What a process has used of processors so far, to the nanosecond, in its own code and in the system's."""
    return time.clock_gettime((~pid << 3) | 2)  # How Linux names the clock of another process.
