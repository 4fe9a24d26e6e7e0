"""Networks that get quicker while they work: compiled in the background, and on a GPU replayed as one graph.

Nobody waits for that: a pass runs as before until something quicker is ready. Each kind of call at each size of pass is
made quick by itself; passes are filled up to a size, so that there are few of them. A graph works on the weights where
they are: LoRAs that are put into them keep it, and so does another model that takes their place.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from imagegen.engine.blueprint import Method
from imagegen.engine.compiling import compiled
from imagegen.engine.joining import LISTS, PLACES, TIMES, Arguments
from imagegen.engine.recording import Recorder, Replay, Run

logger = logging.getLogger(__name__)

# Passes of a kind and a size before anything is done about it: most sizes come and go.
OFTEN = 3
# A graph saves the time that it takes to start kernels. Below this share of the whole it is not worth its memory.
BOUND = 0.5


class Workshop:
    """What a device can do for its networks. Compiled ones are kept in `folder`; None compiles none."""

    def __init__(self, device: torch.device, folder: Path | None) -> None:
        self.folder = folder
        # cuBLAS keeps memory for every stream that it ever worked on, so that there is one for all recordings.
        self._stream = torch.cuda.Stream() if device.type == "cuda" else None
        self._recorders: WeakSet[Recorder] = WeakSet()
        self._background = ThreadPoolExecutor(1, "compiler")

    def recorder(self) -> Recorder | None:
        """For one network; None where nothing can be recorded."""
        if self._stream is None:
            return None
        recorder = Recorder(self._stream)
        self._recorders.add(recorder)
        return recorder

    def kept(self) -> int:
        """Bytes of the device that are kept for recorded passes."""
        return sum(recorder.kept for recorder in self._recorders)

    def compiled(self, network: Any, method: Method, example: Arguments) -> Future[Run]:
        assert self.folder is not None
        return self._background.submit(compiled, network, method, example, self.folder)


@dataclass
class Way:
    """How calls of one kind run at one size of pass. `compiled` is kept for what is recorded of it."""

    passes: int = 0
    quick: Run | None = None
    compiling: Future[Run] | None = None
    compiled: Run | None = None


class Quick:
    """Runs one method of a network."""

    def __init__(self, run: Run, network: Any, method: Method, workshop: Workshop | None) -> None:
        self.run, self.network, self.method, self.workshop = run, network, method, workshop
        self.ways: dict[Any, Way] = {}
        self.recorder: Recorder | None = None
        self.can_record = True

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
            try:
                return tree_map(lambda each: each[:rows], way.quick(**filled(arguments, rows, size)))
            except RuntimeError as error:  # What is compiled does not say why. As it was before, it does.
                logger.warning("A quick pass failed", exc_info=error, extra={"action": "not_quick"})
                way.quick = way.compiled = None
        began = time.perf_counter()
        output = self.run(**arguments)
        if way.passes == OFTEN:
            self._improve(way, filled(arguments, rows, size), time.perf_counter() - began > BOUND * seconds)
        return output

    def recorded(self, kind: Any, rows: int) -> bool:
        """Whether the next pass of that kind and size is a graph, whose memory is there already."""
        way = self.ways.get((kind, size_of(rows)))
        return way is not None and isinstance(way.quick, Replay)

    def forget(self) -> bool:
        """All that was made quick, whose memory is needed; nothing is recorded any more. Whether there was any."""
        had = any(way.quick is not None for way in self.ways.values())
        if self.recorder is not None:
            torch.cuda.synchronize()  # It may be running.
        self.ways.clear()
        self.recorder, self.can_record = None, False
        return had

    def take_over(self, before: Quick) -> None:
        """What was made quick for the weights in whose place these are. What was being compiled was for the others."""
        ways = before.ways.items()
        self.ways = {key: replace(way, compiling=None) for key, way in ways if way.quick is not None}
        self.recorder, self.can_record = before.recorder, before.can_record

    def _improve(self, way: Way, arguments: Arguments, bound: bool) -> None:
        assert self.workshop is not None
        if bound:
            way.quick = self._replay(self.run, arguments)
        if self.workshop.folder is not None:
            way.compiling = self.workshop.compiled(self.network, self.method, arguments)

    def _take(self, way: Way, arguments: Arguments) -> None:
        assert way.compiling is not None
        compiling, way.compiling = way.compiling, None
        if (error := compiling.exception()) is not None:
            logger.warning("A network could not be compiled", exc_info=error, extra={"action": "not_compiled"})
        else:
            way.compiled = compiling.result()
            way.quick = self._replay(way.compiled, arguments) or way.compiled

    def _replay(self, run: Run, arguments: Arguments) -> Replay | None:
        """A network that cannot be recorded is not tried again."""
        assert self.workshop is not None
        if self.can_record and self.recorder is None:
            self.recorder = self.workshop.recorder()
        replay = self.recorder.recorded(run, arguments) if self.can_record and self.recorder is not None else None
        self.can_record &= replay is not None
        return replay


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
