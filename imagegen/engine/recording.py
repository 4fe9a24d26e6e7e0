"""Passes of a network as CUDA graphs: all kernels of one are started at once.

https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from imagegen.engine.joining import Arguments

logger = logging.getLogger(__name__)

Run = Callable[..., Any]


class Recorder:
    """For one network. Its graphs share a pool of memory: one runs at a time, and what it says is taken away at once.

    The pool goes with the recorder and all that it recorded. `kept` is how many bytes it holds.
    """

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self.stream, self.kept = stream, 0
        self._pool = torch.cuda.graph_pool_handle()
        self._first: Replay | None = None

    def recorded(self, run: Run, arguments: Arguments) -> Replay | None:
        """None when it cannot be recorded: whatever the reason is, it works without. Then no more can be."""
        here = torch.cuda.current_stream()
        try:
            if self._first is None:  # Without a graph that stays, the pool could not be used again.
                self._first = Replay(torch.neg, {"input": torch.zeros(1, device="cuda")}, self._pool, self.stream)
            replay = Replay(run, arguments, self._pool, self.stream)
        except Exception as error:
            logger.warning("A network could not be recorded", exc_info=error, extra={"action": "not_recorded"})
        else:
            self.kept += replay.kept
            return replay
        torch.cuda.set_stream(here)
        self._abandon()
        return None

    def _abandon(self) -> None:
        """torch leaves the stream and the pool as they were in the middle of a recording that failed."""
        torch.cuda.synchronize()
        with suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(self.stream.device_index, self._pool)  # noqa: SLF001 Nothing else does.
            torch._C._cuda_releasePool(self.stream.device_index, self._pool)  # noqa: SLF001


class Replay:
    """One pass. Kernels of a compiled network go with that, so whoever has the one keeps the other."""

    def __init__(self, run: Run, arguments: Arguments, pool: Any, stream: torch.cuda.Stream) -> None:
        leaves, self._tree = tree_flatten(dict(arguments))
        self._inputs = [copied(leaf) for leaf in leaves]
        whole = tree_unflatten(self._inputs, self._tree)
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            run(**whole)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        torch.cuda.empty_cache()
        before = torch.cuda.memory_reserved()
        with torch.cuda.graph(self._graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            self._output = run(**whole)
        self.kept = torch.cuda.memory_reserved() - before

    def __call__(self, **arguments: Any) -> Any:
        """The output is the caller's: the next pass writes over that of the graph."""
        for mine, given in zip(self._inputs, tree_flatten(arguments)[0], strict=True):
            if isinstance(mine, Tensor):
                mine.copy_(given)
        self._graph.replay()
        return tree_map(copied, self._output)


def copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value
