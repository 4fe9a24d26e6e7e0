"""The controls of one stage of a job: what they add to the calls of its denoiser.

ControlNets are called here, at the denoiser, and not by a pipeline of their own, so that all tasks and samplers can be
controlled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from imagegen.engine.batching.collate import Arguments
from imagegen.engine.controls.kind import Additions, Control, Features
from imagegen.engine.protocols import Pipeline


class JobControls:
    """`pipeline` is that of the job's stage, and `pictures` how many it paints at once."""

    def __init__(self, controls: Sequence[Control], pipeline: Pipeline, pictures: int) -> None:
        self.controls, self.pipeline, self.pictures = controls, pipeline, pictures
        self._step = 0

    def end_step(self) -> None:
        """Marks the end of a step."""
        self._step += 1

    def build_arguments(self, arguments: Arguments) -> Additions:
        """Returns what a call of the denoiser with these arguments gets besides. Called in the job's task."""
        total: Additions = {}
        for control in self.controls:
            if self._is_active(control):
                total = add_by_name(total, control.compute_additions(arguments, self.pictures))
        return total

    def _is_active(self, control: Control) -> bool:
        """Returns whether the share of the steps that a control is for includes the whole current step."""
        steps = self.pipeline.num_timesteps
        use = control.use
        return use.weight > 0 and self._step / steps >= use.start and (self._step + 1) / steps <= use.end


def add_by_name(first: Additions, second: Additions) -> Additions:
    """Returns the sums of what two ControlNets add to the denoiser's features."""
    sums = {name: add_features(first[name], second[name]) for name in first if name in second}
    return {**first, **second, **sums}


def add_features(first: Features, second: Features) -> Features:
    """Returns the sums at each place. Places that have the same two tensors also have the same sum."""
    if isinstance(first, Tensor):
        assert isinstance(second, Tensor)
        return first + second
    if isinstance(first, Mapping):
        assert isinstance(second, Mapping)
        return {**first, **second, **{place: first[place] + second[place] for place in first if place in second}}
    assert isinstance(second, Sequence)
    sums: dict[tuple[int, int], Tensor] = {}
    for a, b in zip(first, second, strict=True):
        if (id(a), id(b)) not in sums:
            sums[id(a), id(b)] = a + b
    return type(first)(sums[id(a), id(b)] for a, b in zip(first, second, strict=True))  # type: ignore[call-arg]
