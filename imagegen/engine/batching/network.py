"""A network that several jobs share, and its calls."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from imagegen.engine.adapters.merge import NO_ADAPTERS, AdapterSet, WeightPatcher
from imagegen.engine.adapters.per_row import PerRowLora
from imagegen.engine.batching.batch_size import BatchSizer
from imagegen.engine.batching.collate import (
    Arguments,
    BatchRules,
    CannotCollate,
    NetworkOutput,
    batch_key,
    count_rows,
)
from imagegen.engine.compile.accelerator import Accelerator
from imagegen.engine.compile.cuda_graphs import NetworkFunction
from imagegen.engine.job import EngineJob
from imagegen.engine.run_loop import get_context, request

# Arguments for attentions. None means the same as leaving them out.
KWARGS = ("joint_attention_kwargs", "cross_attention_kwargs")


class BatchedNetwork:
    """A network that several jobs share. Its calls are made in tasks of the run loop, and answered by the Batcher.

    `parameter_names` are those of the network's positional parameters. A denoiser has a `patcher`, with which LoRAs are
    merged into its weights, and steps of it can be skipped; a decoder has none. `precedes_denoiser` says that a step
    needs its output before it calls the denoiser; such a network has the patcher of a denoiser with common parts.
    `run_in_little_memory` takes the same arguments as a pass, and is slower.
    """

    def __init__(
        self,
        parameter_names: Sequence[str],
        accelerator: Accelerator,
        rules: BatchRules,
        patcher: WeightPatcher | None = None,
        precedes_denoiser: bool = False,
        run_in_little_memory: NetworkFunction | None = None,
    ) -> None:
        self.parameter_names, self.accelerator = tuple(parameter_names), accelerator
        self.rules, self.patcher = rules, patcher
        self.precedes_denoiser, self.run_in_little_memory = precedes_denoiser, run_in_little_memory
        self.per_row_lora = PerRowLora()
        self.batch_sizers: dict[Hashable, BatchSizer] = {}
        self.can_apply_per_row = True

    def __call__(self, *args: object, **kwargs: object) -> NetworkOutput:
        """Called in a task, which waits for the output."""
        arguments = self._unify(dict(zip(self.parameter_names, args, strict=False)) | kwargs)
        if self.patcher is None:
            return self._request_pass(arguments, NO_ADAPTERS)
        job = get_context(EngineJob)
        if self.precedes_denoiser:
            return self._request_pass(arguments, job.adapters)
        predictor, first_argument = job.step_cache.next_predictor(), next(iter(arguments.values()))
        predicted: NetworkOutput | None = predictor.predict(first_argument)
        if predicted is not None:
            return predicted
        output = self._request_pass({**arguments, **job.extend_call(arguments)}, job.adapters)
        predictor.update(first_argument, output)
        return output

    def _unify(self, arguments: Arguments) -> Arguments:
        """Returns the same arguments for all pipelines, which differ in those that they leave out.

        They all read the output by its index, so that it can be a tuple.
        """
        unified = {name: value for name, value in arguments.items() if value is not None or name not in KWARGS}
        return unified | {"return_dict": False} if "return_dict" in self.parameter_names else unified

    def _request_pass(self, arguments: Arguments, adapters: AdapterSet) -> NetworkOutput:
        rows = count_rows(arguments)
        key = get_batch_key(arguments, rows, self.rules)
        output: NetworkOutput = request(NetworkCall(self, arguments, rows, key, adapters))
        return output


class UnbatchableKey:
    """The batch key of a call that cannot be joined with any other."""


def get_batch_key(arguments: Arguments, rows: int, rules: BatchRules) -> Hashable:
    """Returns a key that is equal for calls that can be joined."""
    try:
        return batch_key(arguments, rows, rules)
    except CannotCollate:
        return UnbatchableKey()


@dataclass(frozen=True)
class NetworkCall:
    """One call of a network by one job."""

    network: BatchedNetwork
    arguments: Arguments
    rows: int
    batch_key: Hashable
    adapters: AdapterSet
