"""Errors of a device that has no memory left, and the memory that can be freed then."""

from __future__ import annotations

import ctypes
import gc
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from imagegen.errors import OutOfMemory


def is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA has its own error class for it; CPU, MPS, cuBLAS and cuDNN raise a RuntimeError with a message."""
    messages = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(part in str(error) for part in messages)


@contextmanager
def convert_out_of_memory() -> Iterator[None]:
    """Raises OutOfMemory in place of torch's errors, and clears their frames, which would keep the memory alive."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        raise OutOfMemory from None


def release_unused_memory() -> None:
    """Returns unused memory to the device and to the operating system, instead of keeping it in the allocators."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch._C._host_emptyCache()  # noqa: SLF001 As torch.cuda.graph does: pinned memory has a cache of its own.
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
