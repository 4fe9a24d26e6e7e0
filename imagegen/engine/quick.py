"""Networks that get quicker while they work: compiled in the background, and on a GPU replayed as one graph.

Nobody waits for that: a pass runs as before until something quicker is ready. Each kind of call at each size of pass is
made quick by itself; passes are filled up to a size, so that there are few of them. A graph works on the weights where
they are: LoRAs that are put into them keep it, and so does another model that takes their place.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from imagegen.engine.blueprint import Method
from imagegen.engine.compiling import compiled
from imagegen.engine.joining import LISTS, PLACES, TIMES, Arguments

logger = logging.getLogger(__name__)

# Passes of a kind and a size before anything is done about it: most sizes come and go.
OFTEN = 3
# A graph saves the time that it takes to start kernels. Below this share of the whole it is not worth its memory.
BOUND = 0.5

Run = Callable[..., Any]


class Workshop:
    """What a device can do for its networks. Compiled ones are kept in `folder`; None compiles none."""

    def __init__(self, device: torch.device, folder: Path | None) -> None:
        self.folder, self.graphs = folder, device.type == "cuda"
        self.pool = torch.cuda.graph_pool_handle() if self.graphs else None
        self._background = ThreadPoolExecutor(1, "compiler")

    def compiled(self, network: Any, method: Method, example: Arguments) -> Future[Run]:
        assert self.folder is not None
        return self._background.submit(compiled, network, method, example, self.folder)


@dataclass
class Way:
    """How calls of one kind run at one size of pass."""

    passes: int = 0
    quick: Run | None = None
    compiling: Future[Run] | None = None


class Quick:
    """Runs one method of a network. `ways` may be handed on to another whose weights take the place of these."""

    def __init__(self, run: Run, network: Any, method: Method, workshop: Workshop | None) -> None:
        self.run, self.network, self.method, self.workshop = run, network, method, workshop
        self.ways: dict[Any, Way] = {}

    def __call__(self, kind: Any, arguments: Arguments, rows: int, seconds: float) -> Any:
        """The output for these arguments; those of no kind are never made quick.

        `seconds` is the least that a pass of so many rows has taken so far.
        """
        if self.workshop is None or kind is None or any(name in LISTS for name in arguments):
            return self.run(**arguments)
        size = size_of(rows)
        way = self.ways.setdefault((kind, size), Way())
        way.passes += 1
        if way.compiling is not None and way.compiling.done():
            self._take(way, filled(arguments, rows, size))
        if way.quick is not None:
            return tree_map(lambda each: each[:rows], way.quick(**filled(arguments, rows, size)))
        began = time.perf_counter()
        output = self.run(**arguments)
        if way.passes == OFTEN:
            self._improve(way, filled(arguments, rows, size), time.perf_counter() - began > BOUND * seconds)
        return output

    def settled(self) -> dict[Any, Way]:
        """What is quick by now. What is being compiled is for weights where they were."""
        return {key: replace(way, compiling=None) for key, way in self.ways.items() if way.quick is not None}

    def _improve(self, way: Way, arguments: Arguments, bound: bool) -> None:
        assert self.workshop is not None
        if self.workshop.graphs and bound:
            way.quick = self._replay(self.run, arguments)
        if self.workshop.folder is not None:
            way.compiling = self.workshop.compiled(self.network, self.method, arguments)

    def _take(self, way: Way, arguments: Arguments) -> None:
        assert self.workshop is not None and way.compiling is not None
        compiling, way.compiling = way.compiling, None
        if (error := compiling.exception()) is not None:
            logger.warning("A network could not be compiled", exc_info=error, extra={"action": "not_compiled"})
        elif self.workshop.graphs:
            way.quick = self._replay(compiling.result(), arguments) or way.quick
        else:
            way.quick = compiling.result()

    def _replay(self, run: Run, arguments: Arguments) -> Run | None:
        assert self.workshop is not None
        try:
            return Replay(run, arguments, self.workshop.pool)
        except Exception as error:  # Whatever it is, it works without.
            logger.warning("A network could not be recorded", exc_info=error, extra={"action": "not_recorded"})
            torch.cuda.synchronize()
            return None


class Replay:
    """All kernels of one pass, started at once: https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs."""

    def __init__(self, run: Run, arguments: Arguments, pool: Any) -> None:
        leaves, self._tree = tree_flatten(dict(arguments))
        self._inputs = [copied(leaf) for leaf in leaves]
        whole = tree_unflatten(self._inputs, self._tree)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            run(**whole)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self._output = run(**whole)

    def __call__(self, **arguments: Any) -> Any:
        """The output is the caller's: the next pass writes over that of the graph."""
        for mine, given in zip(self._inputs, tree_flatten(arguments)[0], strict=True):
            if isinstance(mine, Tensor):
                mine.copy_(given)
        self._graph.replay()
        return tree_map(copied, self._output)


def copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def size_of(rows: int) -> int:
    """The next power of two."""
    return 1 << (rows - 1).bit_length()


def filled(arguments: Mapping[str, Any], rows: int, size: int) -> dict[str, Any]:
    """The arguments of a call with so many rows: the last row is repeated. Memory lies the same way each time."""
    return {name: full(name, value, rows, size) for name, value in arguments.items()}


def full(name: str, value: Any, rows: int, size: int) -> Any:
    match value:
        case Tensor() if name in TIMES:
            value = value.reshape(-1).expand(rows)
            value = value if value.is_floating_point() else value.float()  # As networks take them themselves.
        case Tensor() if name in PLACES and value.ndim == 2:
            return value
        case dict():
            return filled(value, rows, size)
        case list() | tuple():
            return type(value)(full("", each, rows, size) for each in value)
    if not isinstance(value, Tensor):
        return value
    return torch.cat([value, value[-1:].expand(size - rows, *value.shape[1:])]) if size > rows else value.contiguous()
