"""The shared denoiser: what several runs ask of one network at the same time is answered by one pass through it.

Whatever sampler, number of steps, guidance or seed a run has, and whenever it began: at each step it asks the network
the same kind of question.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from imagegen.engine.branches import Branches, Rowless
from imagegen.engine.fibres import Answer, Fibre, ask, current
from imagegen.engine.joining import Arguments, Unjoinable, cut, joined, likeness, rows_of
from imagegen.engine.memory import is_out_of_memory
from imagegen.engine.pace import Pace
from imagegen.engine.quick import Quick
from imagegen.engine.stopwatch import Stopwatch
from imagegen.engine.wearing import NOTHING, Outfit, Wardrobe
from imagegen.errors import OutOfMemory

T = TypeVar("T")


class Network:
    """What many may ask, by the names of its parameters.

    A denoiser wears what its callers do; a network without a wardrobe wears nothing.
    """

    def __init__(self, names: Sequence[str], quick: Quick, wardrobe: Wardrobe | None = None) -> None:
        self.names, self.quick, self.wardrobe = tuple(names), quick, wardrobe
        self.branches = Branches()
        self.paces: dict[Any, Pace] = {}
        self.by_rows = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Called in a fibre: asks, and waits for the answer."""
        running = current()
        assert running is not None
        arguments = dict(zip(self.names, args, strict=False)) | kwargs
        if self.wardrobe is None:
            return self._ask(arguments, NOTHING)
        carrying = running.carrying
        guesses, first = carrying.cache.call(), next(iter(arguments.values()))
        guess = guesses.guess(first)
        if guess is None:
            guess = self._ask(arguments, carrying.outfit)
            guesses.learn(first, guess)
        return guess

    def _ask(self, arguments: Arguments, outfit: Outfit) -> Any:
        rows = rows_of(arguments)
        return ask(Call(self, arguments, rows, kind_of(arguments, rows), outfit))


class Lone:
    """The kind of a call that nobody knows how to join."""


def kind_of(arguments: Arguments, rows: int) -> Any:
    """Calls of the same kind can be joined."""
    try:
        return likeness(arguments, rows)
    except Unjoinable:
        return Lone()


@dataclass(frozen=True)
class Call:
    """What one run asks at one step."""

    network: Network
    arguments: Arguments
    rows: int
    kind: Any
    outfit: Outfit


Asked = tuple[Fibre, Call]


class Batcher:
    """Answers calls by as few passes as are worth it; when `exact`, each by one of its own, as if it were alone."""

    def __init__(self, stopwatch: Stopwatch, exact: bool, make_room: Callable[[], bool]) -> None:
        """`make_room` gives memory back for a pass that had too little; no when there is none to give."""
        self.stopwatch, self.exact, self.make_room = stopwatch, exact, make_room

    def answers(self, asked: Sequence[Asked]) -> Iterator[Answer]:
        """Each as soon as it is known."""
        self.stopwatch.read()
        for together in self._dressed_alike(asked):
            calls = [call for _, call in together]
            try:
                beside = dress(calls)
            except Exception as error:
                yield from (Answer(fibre, error=told(error)) for fibre, _ in together)
                continue
            for alike in grouped(together, lambda each: each[1].kind):
                pace = pace_of(alike[0][1])
                for part in parts(alike, 1 if self.exact else pace.limit, beside):
                    yield from self._answered(part, pace, beside)

    def _dressed_alike(self, asked: Sequence[Asked]) -> Iterable[Sequence[Asked]]:
        """Those that ask the same network; to be exact, these change clothes from one to the next."""
        if self.exact:
            return grouped(asked, lambda each: (each[1].network, each[1].outfit.key))
        return grouped(asked, lambda each: each[1].network)

    def _answered(self, part: Sequence[Asked], pace: Pace, beside: bool) -> Iterable[Answer]:
        """When calls fail together each is tried by itself: what is wrong with one is no other's business."""
        calls = [call for _, call in part]
        try:
            outputs = self._passed(calls, pace, beside)
        except Exception as error:
            failed = told(error)
            if isinstance(failed, OutOfMemory) and self.make_room():
                return self._answered(part, pace, beside)
            if len(part) == 1:
                return [Answer(part[0][0], error=failed)]
            if isinstance(failed, OutOfMemory):
                pace.failed(sum(call.rows for call in calls))
            calls[0].network.by_rows &= not isinstance(failed, Rowless)
            return [answer for each in part for answer in self._answered([each], pace, beside)]
        return [Answer(fibre, value) for (fibre, _), value in zip(part, outputs, strict=True)]

    def _passed(self, calls: Sequence[Call], pace: Pace, beside: bool) -> Sequence[Any]:
        network, rows = calls[0].network, [call.rows for call in calls]
        arguments = calls[0].arguments if len(calls) == 1 else joined([call.arguments for call in calls])
        kind = None if beside or isinstance(calls[0].kind, Lone) else calls[0].kind
        with self.stopwatch.running(pace, sum(rows), lambda: network.quick.recorded(kind, sum(rows))):
            if beside:
                with network.branches.worn([(call.outfit, call.rows) for call in calls]):
                    output = network.quick.run(**arguments)
            else:
                output = network.quick(kind, arguments, sum(rows), pace.least(sum(rows)))
        return [output] if len(calls) == 1 else cut(output, rows)


def dress(calls: Sequence[Call]) -> bool:
    """One outfit for all is put into the weights. Several go beside them, and then the answer is yes."""
    wardrobe, first = calls[0].network.wardrobe, calls[0].outfit
    if wardrobe is None:
        return False
    several = any(call.outfit.key != first.key for call in calls)
    wardrobe.wear(NOTHING if several else first)
    return several


def told(error: Exception) -> Exception:
    """As it is told. An error of too little memory keeps no frame alive that still holds the memory."""
    if not isinstance(error, RuntimeError) or not is_out_of_memory(error):
        return error
    traceback.clear_frames(error.__traceback__)
    return OutOfMemory()


def pace_of(call: Call) -> Pace:
    return Pace() if isinstance(call.kind, Lone) else call.network.paces.setdefault(call.kind, Pace())


def parts(asked: Sequence[Asked], limit: int, beside: bool) -> Iterator[Sequence[Asked]]:
    """Of at most so many rows where there is more than one call, and about as large as each other."""
    if beside and not asked[0][1].network.by_rows and len({call.outfit.key for _, call in asked}) > 1:
        for same in grouped(asked, lambda each: each[1].outfit.key):
            yield from parts(same, limit, beside)
        return
    rows = sum(call.rows for _, call in asked)
    share = math.ceil(rows / math.ceil(rows / limit))
    part: list[Asked] = []
    for each in asked:
        if part and sum(call.rows for _, call in [*part, each]) > share:
            yield part
            part = []
        part.append(each)
    yield part


def grouped(items: Sequence[T], key: Callable[[T], Any]) -> Iterable[Sequence[T]]:
    """In the order in which the first of each came."""
    groups: dict[Any, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups.values()
