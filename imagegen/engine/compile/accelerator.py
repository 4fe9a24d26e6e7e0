"""Runs networks faster after a few passes: compiled in the background, and on a GPU replayed as CUDA graphs.

No pass waits: until a faster variant is ready, the network runs as before. There is one variant for each kind of call
and number of rows; rows are padded to powers of two, so that there are few variants. A graph reads the weights at their
addresses: it stays valid when a LoRA is merged into them, or when another model's weights are copied there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from imagegen.engine.batching.collate import DEFAULT_RULES, Arguments, BatchRules
from imagegen.engine.compile.compiler import load_or_compile
from imagegen.engine.compile.cuda_graphs import CapturedGraph, GraphPool, NetworkFunction
from imagegen.engine.compile.spec import Method

logger = logging.getLogger(__name__)

# Passes of one kind and size before it is accelerated; most sizes occur only a few times.
PASSES_BEFORE_ACCELERATION = 3
# A graph saves the time of kernel launches. Below this share of a pass it is not worth its memory.
MIN_LAUNCH_SHARE = 0.5


class CompilePool:
    """What networks on one device share: the compiler's thread, and the stream of captures.

    `folder` is the cache of compiled networks; None compiles nothing.
    """

    def __init__(self, device: torch.device, folder: Path | None) -> None:
        self.folder = folder
        # cuBLAS keeps a workspace for every stream that it has used, so that all captures share one stream.
        self._stream = torch.cuda.Stream() if device.type == "cuda" else None
        self._graph_pools: WeakSet[GraphPool] = WeakSet()
        self._executor = ThreadPoolExecutor(1, "compiler")

    def create_graph_pool(self) -> GraphPool | None:
        """Returns a memory pool for the graphs of one network; None on a device without CUDA graphs."""
        if self._stream is None:
            return None
        pool = GraphPool(self._stream)
        self._graph_pools.add(pool)
        return pool

    def measure_graph_bytes(self) -> int:
        """Returns the bytes of device memory that captured graphs hold."""
        return sum(pool.reserved_bytes for pool in self._graph_pools)

    def submit(self, network: Any, method: Method, example_arguments: Arguments) -> Future[NetworkFunction]:
        """Compiles in the background, or loads from `folder`. The future raises RuntimeError if that fails."""
        assert self.folder is not None
        return self._executor.submit(load_or_compile, network, method, example_arguments, self.folder)


@dataclass
class Variant:
    """How calls of one kind and padded size run. `compiled` stays referenced while a graph uses its kernels."""

    passes: int = 0
    accelerated: NetworkFunction | None = None
    pending_compile: Future[NetworkFunction] | None = None
    compiled: NetworkFunction | None = None


class Accelerator:
    """Runs one method of a network: a captured graph if there is one, else compiled code, else the network itself."""

    def __init__(
        self,
        run: NetworkFunction,
        network: Any,
        method: Method,
        compile_pool: CompilePool | None,
        rules: BatchRules = DEFAULT_RULES,
    ) -> None:
        self.run, self.network, self.method, self.compile_pool = run, network, method, compile_pool
        self.rules = rules
        self.variants: dict[Hashable, Variant] = {}
        self.graph_pool: GraphPool | None = None
        self.can_capture = True

    def __call__(self, batch_key: Hashable, arguments: Arguments, rows: int, fastest_seconds: float) -> Any:
        """Returns the output for these arguments, of `rows` rows.

        `batch_key` identifies the kind of call; calls with None are never accelerated. `fastest_seconds` is the
        shortest time that a pass of this size has taken; launches that take a large share of it make capturing
        worthwhile.
        """
        lists = (*self.rules.lists, *self.rules.repeated)
        if self.compile_pool is None or batch_key is None or any(name in lists for name in arguments):
            return self.run(**arguments)
        size = round_up_to_power_of_two(rows)
        variant = self.variants.setdefault((batch_key, size), Variant())
        variant.passes += 1
        if variant.pending_compile is not None and variant.pending_compile.done():
            self._use_compiled(variant, pad_arguments(arguments, rows, size, self.rules))
        if variant.accelerated is not None:
            try:
                padded = pad_arguments(arguments, rows, size, self.rules)
                return tree_map(lambda each: each[:rows], variant.accelerated(**padded))
            except RuntimeError as error:  # Compiled code gives no reason. The network itself, which runs next, does.
                logger.warning("Accelerated pass failed", exc_info=error, extra={"action": "accelerated_pass_failed"})
                variant.accelerated = variant.compiled = None
        started_at = time.perf_counter()
        output = self.run(**arguments)
        if variant.passes == PASSES_BEFORE_ACCELERATION:
            self._accelerate(
                variant,
                pad_arguments(arguments, rows, size, self.rules),
                time.perf_counter() - started_at > MIN_LAUNCH_SHARE * fastest_seconds,
            )
        return output

    def has_graph(self, batch_key: Hashable, rows: int) -> bool:
        """Returns whether the next pass of this kind and size replays a graph, which allocates no more memory."""
        variant = self.variants.get((batch_key, round_up_to_power_of_two(rows)))
        return variant is not None and isinstance(variant.accelerated, CapturedGraph)

    def clear(self) -> bool:
        """Frees all variants, and captures no more, because memory is short. Returns whether there were any."""
        had_variants = any(variant.accelerated is not None for variant in self.variants.values())
        if self.graph_pool is not None:
            torch.cuda.synchronize()  # A graph may be running.
        self.variants.clear()
        self.graph_pool, self.can_capture = None, False
        return had_variants

    def adopt(self, previous: Accelerator) -> None:
        """Takes over the variants of another model whose weights were at the same addresses.

        Compilations that are still pending belong to the other model, and are dropped.
        """
        self.variants = {
            key: replace(variant, pending_compile=None)
            for key, variant in previous.variants.items()
            if variant.accelerated is not None
        }
        self.graph_pool, self.can_capture = previous.graph_pool, previous.can_capture

    def _accelerate(self, variant: Variant, arguments: Arguments, is_launch_bound: bool) -> None:
        assert self.compile_pool is not None
        if is_launch_bound:
            variant.accelerated = self._capture_graph(self.run, arguments)
        if self.compile_pool.folder is not None:
            variant.pending_compile = self.compile_pool.submit(self.network, self.method, arguments)

    def _use_compiled(self, variant: Variant, arguments: Arguments) -> None:
        assert variant.pending_compile is not None
        future, variant.pending_compile = variant.pending_compile, None
        if (error := future.exception()) is not None:
            logger.warning("A network could not be compiled", exc_info=error, extra={"action": "compile_failed"})
        else:
            variant.compiled = future.result()
            variant.accelerated = self._capture_graph(variant.compiled, arguments) or variant.compiled

    def _capture_graph(self, run: NetworkFunction, arguments: Arguments) -> CapturedGraph | None:
        """Returns a captured graph; None if capturing failed, now or before."""
        assert self.compile_pool is not None
        if self.can_capture and self.graph_pool is None:
            self.graph_pool = self.compile_pool.create_graph_pool()
        graph = self.graph_pool.capture(run, arguments) if self.can_capture and self.graph_pool is not None else None
        self.can_capture &= graph is not None
        return graph


def round_up_to_power_of_two(rows: int) -> int:
    """Returns the smallest power of two that is not below `rows`."""
    return 1 << (rows - 1).bit_length()


def pad_arguments(arguments: Arguments, rows: int, size: int, rules: BatchRules) -> dict[str, Any]:
    """Returns contiguous arguments padded from `rows` to `size` rows by repeating the last row."""
    return {name: pad_value(name, value, rows, size, rules) for name, value in arguments.items()}


def pad_value(name: str, value: Any, rows: int, size: int, rules: BatchRules) -> Any:
    """Pads one argument to `size` rows. Timesteps are expanded, position ids are kept as they are."""
    match value:
        case Tensor() if rules.is_timestep(name, value):
            value = value.reshape(-1).expand(rows)
            value = value if value.is_floating_point() else value.float()  # Networks convert them as well.
        case Tensor() if rules.is_position(name, value):
            return value
        case dict():
            return pad_arguments(value, rows, size, rules)
        case list() | tuple():
            return type(value)(pad_value("", each, rows, size, rules) for each in value)
    if not isinstance(value, Tensor):
        return value
    return torch.cat([value, value[-1:].expand(size - rows, *value.shape[1:])]) if size > rows else value.contiguous()
