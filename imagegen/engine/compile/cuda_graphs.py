"""Passes of a network captured as CUDA graphs, which launch all kernels at once.

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

from imagegen.engine.batching.collate import Arguments

logger = logging.getLogger(__name__)

NetworkFunction = Callable[..., Any]


class GraphPool:
    """Captures the graphs of one network. They share one memory pool: one runs at a time, and its output is copied.

    The pool is freed with this object and its graphs. `reserved_bytes` is the device memory that it holds.
    """

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self.stream, self.reserved_bytes = stream, 0
        self._pool = torch.cuda.graph_pool_handle()
        self._placeholder: CapturedGraph | None = None

    def capture(self, run: NetworkFunction, arguments: Arguments) -> CapturedGraph | None:
        """Returns a captured graph; None if capturing fails for any reason, after which this pool must not be used."""
        previous_stream = torch.cuda.current_stream()
        try:
            if self._placeholder is None:  # A pool without any graph left cannot be used again.
                self._placeholder = CapturedGraph(
                    torch.neg, {"input": torch.zeros(1, device="cuda")}, self._pool, self.stream
                )
            graph = CapturedGraph(run, arguments, self._pool, self.stream)
        except Exception as error:
            logger.warning("A network could not be captured", exc_info=error, extra={"action": "capture_failed"})
        else:
            self.reserved_bytes += graph.reserved_bytes
            return graph
        torch.cuda.set_stream(previous_stream)
        self._abort_capture()
        return None

    def _abort_capture(self) -> None:
        """Restores stream and pool: torch leaves both in capture mode when a capture fails."""
        torch.cuda.synchronize()
        with suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(self.stream.device_index, self._pool)  # noqa: SLF001 There is no public one.
            torch._C._cuda_releasePool(self.stream.device_index, self._pool)  # noqa: SLF001


class CapturedGraph:
    """One captured pass. It refers to the kernels of a compiled network, which must live as long."""

    def __init__(self, run: NetworkFunction, arguments: Arguments, pool: Any, stream: torch.cuda.Stream) -> None:
        leaves, self._tree = tree_flatten(dict(arguments))
        self._inputs = [clone_tensor(leaf) for leaf in leaves]
        call_arguments = tree_unflatten(self._inputs, self._tree)
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            run(**call_arguments)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        torch.cuda.empty_cache()
        before = torch.cuda.memory_reserved()
        with torch.cuda.graph(self._graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            self._output = run(**call_arguments)
        self.reserved_bytes = torch.cuda.memory_reserved() - before

    def __call__(self, **arguments: Any) -> Any:
        """Copies the arguments into the graph's inputs, replays it, and returns a copy of its output."""
        for static_input, value in zip(self._inputs, tree_flatten(arguments)[0], strict=True):
            if isinstance(static_input, Tensor):
                static_input.copy_(value)
        self._graph.replay()
        return tree_map(clone_tensor, self._output)


def clone_tensor(value: Any) -> Any:
    """Returns a copy of a tensor; other values as they are."""
    return value.clone() if isinstance(value, Tensor) else value
