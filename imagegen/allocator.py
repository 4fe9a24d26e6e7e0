"""How the C library of the web process keeps memory that has been freed."""

from __future__ import annotations

import ctypes
import os

# Of mallopt(3), in glibc's malloc.h.
M_MMAP_THRESHOLD = -3
LARGE_BLOCK_BYTES = 2**20


def return_large_blocks() -> None:
    """Makes glibc return blocks of a megabyte or more to the system as soon as they are freed.

    By default it keeps blocks of up to 32 MB once such blocks have been freed, for each thread apart: every thread that
    has decoded a large picture would keep tens of megabytes. Does nothing with other C libraries.
    """
    if "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", ()):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
