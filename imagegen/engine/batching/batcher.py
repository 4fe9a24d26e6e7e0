"""Batches the calls that several jobs make of one network at the same time into forward passes.

Jobs may differ in sampler, number of steps, guidance, seed, LoRAs and start time: at each step they call the network
with arguments of the same shapes.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

from imagegen.engine.adapters.merge import NO_ADAPTERS
from imagegen.engine.adapters.per_row import RowsNotSeparable
from imagegen.engine.batching.batch_size import BatchSizer
from imagegen.engine.batching.collate import NetworkOutput, collate, get_value_key, split
from imagegen.engine.batching.network import NetworkCall, UnbatchableKey
from imagegen.engine.batching.pass_timer import PassTimer
from imagegen.engine.job import EngineJob
from imagegen.engine.models.out_of_memory import is_out_of_memory
from imagegen.engine.run_loop import Reply, Task
from imagegen.errors import OutOfMemory

T = TypeVar("T")


PendingCall = tuple[Task[EngineJob], NetworkCall]
NetworkReply = Reply[EngineJob, NetworkOutput]


class Batcher:
    """Runs calls in as few passes as is fastest; when `exact`, each in its own pass, as if its job were alone."""

    def __init__(self, pass_timer: PassTimer, exact: bool, free_memory: Callable[[], bool]) -> None:
        """`free_memory` is called when a pass ran out of memory, and returns whether it freed any."""
        self.pass_timer, self.exact, self.free_memory = pass_timer, exact, free_memory

    def process(self, pending: Sequence[PendingCall]) -> Iterator[NetworkReply]:
        """Yields the reply to each call as soon as it is known.

        While jobs call ControlNets, the other calls get none: the denoiser's calls that follow can then be joined with
        those that wait.
        """
        self.pass_timer.collect()
        first_calls = [each for each in pending if each[1].network.precedes_denoiser]
        for group in self._group_by_adapters(first_calls or pending):
            calls = [call for _, call in group]
            try:
                is_per_row = apply_adapters(calls)
            except Exception as error:
                yield from (Reply(task, error=map_torch_error(error)) for task, _ in group)
                continue
            for same_key in group_by(group, lambda each: each[1].batch_key):
                sizer = get_batch_sizer(same_key[0][1])
                for batch in split_into_batches(same_key, 1 if self.exact else sizer.max_rows, is_per_row):
                    yield from self._run_batch(batch, sizer, is_per_row)

    def _group_by_adapters(self, pending: Sequence[PendingCall]) -> Iterable[Sequence[PendingCall]]:
        """Groups calls by network, and by the LoRAs that are merged for one group after the other.

        These are all when `exact`, and else those that cannot be applied per row.
        """

        def get_group(each: PendingCall) -> Hashable:
            network, adapters = each[1].network, each[1].adapters
            return network, adapters.key if self.exact or not adapters.can_apply_per_row else None

        return group_by(pending, get_group)

    def _run_batch(self, batch: Sequence[PendingCall], sizer: BatchSizer, is_per_row: bool) -> Iterable[NetworkReply]:
        """Runs one pass. If it fails, each call is tried by itself, so that an error ends only its own job."""
        calls = [call for _, call in batch]
        try:
            outputs = self._run_pass(calls, sizer, is_per_row)
        except Exception as error:
            mapped_error = map_torch_error(error)
            if isinstance(mapped_error, OutOfMemory) and self.free_memory():
                return self._run_batch(batch, sizer, is_per_row)
            if len(batch) == 1:
                return [try_in_little_memory(*batch[0], mapped_error)]
            if isinstance(mapped_error, OutOfMemory):
                sizer.record_out_of_memory(sum(call.rows for call in calls))
            calls[0].network.can_apply_per_row &= not isinstance(mapped_error, RowsNotSeparable)
            return [reply for each in batch for reply in self._run_batch([each], sizer, is_per_row)]
        return [Reply(task, value) for (task, _), value in zip(batch, outputs, strict=True)]

    def _run_pass(self, calls: Sequence[NetworkCall], sizer: BatchSizer, is_per_row: bool) -> Sequence[NetworkOutput]:
        network, rows = calls[0].network, [call.rows for call in calls]
        arguments = (
            calls[0].arguments if len(calls) == 1 else collate([call.arguments for call in calls], network.rules)
        )
        additions = tuple(
            (name, get_value_key(name, arguments[name], sum(rows), network.rules))
            for name in network.rules.additions
            if name in arguments
        )
        is_unique = is_per_row or isinstance(calls[0].batch_key, UnbatchableKey)
        key = None if is_unique else (calls[0].batch_key, additions)
        with self.pass_timer.measure(sizer, sum(rows), lambda: network.accelerator.has_graph(key, sum(rows))):
            if is_per_row:
                with network.per_row_lora.applied([(call.adapters, call.rows) for call in calls]):
                    output: NetworkOutput = network.accelerator.run(**arguments)
            else:
                output = network.accelerator(key, arguments, sum(rows), sizer.get_fastest_seconds(sum(rows)))
        return [output] if len(calls) == 1 else split(output, rows)


def apply_adapters(calls: Sequence[NetworkCall]) -> bool:
    """Merges the LoRAs of calls into the weights if all calls have the same.

    Returns True if they differ, so that they have to be applied per row.
    """
    patcher, first_adapters = calls[0].network.patcher, calls[0].adapters
    if patcher is None:
        return False
    has_several = any(call.adapters.key != first_adapters.key for call in calls)
    patcher.merge(NO_ADAPTERS if has_several else first_adapters)
    return has_several


def try_in_little_memory(task: Task[EngineJob], call: NetworkCall, error: Exception) -> NetworkReply:
    """Returns the reply to a call that failed alone: its output, if it can do with less memory, or the error."""
    run = call.network.run_in_little_memory
    if run is None or not isinstance(error, OutOfMemory):
        return Reply(task, error=error)
    try:
        return Reply(task, run(**call.arguments))
    except Exception as second_error:
        return Reply(task, error=map_torch_error(second_error))


def map_torch_error(error: Exception) -> Exception:
    """Returns OutOfMemory for torch's errors, and clears their frames, which would keep the memory alive."""
    if not isinstance(error, RuntimeError) or not is_out_of_memory(error):
        return error
    traceback.clear_frames(error.__traceback__)
    return OutOfMemory()


def get_batch_sizer(call: NetworkCall) -> BatchSizer:
    return (
        BatchSizer()
        if isinstance(call.batch_key, UnbatchableKey)
        else call.network.batch_sizers.setdefault(call.batch_key, BatchSizer())
    )


def split_into_batches(
    pending: Sequence[PendingCall], max_rows: int, is_per_row: bool
) -> Iterator[Sequence[PendingCall]]:
    """Yields batches of about equal size with at most `max_rows` rows, unless one call alone has more."""
    if (
        is_per_row
        and not pending[0][1].network.can_apply_per_row
        and len({call.adapters.key for _, call in pending}) > 1
    ):
        for same_adapters in group_by(pending, lambda each: each[1].adapters.key):
            yield from split_into_batches(same_adapters, max_rows, is_per_row)
        return
    rows = sum(call.rows for _, call in pending)
    rows_per_batch = math.ceil(rows / math.ceil(rows / max_rows))
    batch: list[PendingCall] = []
    for each in pending:
        if batch and sum(call.rows for _, call in [*batch, each]) > rows_per_batch:
            yield batch
            batch = []
        batch.append(each)
    yield batch


def group_by(items: Sequence[T], key: Callable[[T], Hashable]) -> Iterable[Sequence[T]]:
    """Returns groups of items with the same key, in the order of their first items."""
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups.values()
