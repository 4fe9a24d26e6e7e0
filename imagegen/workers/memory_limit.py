"""Limits the memory of a worker process, so that a huge model or batch ends its job and not the machine."""

from __future__ import annotations

import sys
from contextlib import suppress


def limit_process_memory(limit_bytes: float) -> None:
    """Makes each allocation beyond the limit fail, which counts the process's own data, not mapped files.

    The kernel of Linux counts this since 4.7; elsewhere there is no such limit.
    """
    if sys.platform != "linux":
        return
    import resource  # noqa: PLC0415 Windows does not have it.

    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit_bytes), most))
