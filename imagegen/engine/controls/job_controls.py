"""The controls of one stage of a job: what they add to the calls of its denoiser.

A ControlNet is a copy of the UNet's first half that also sees a picture. What it computes is added to the UNet's
features at the same places (Zhang et al. 2023, https://arxiv.org/abs/2302.05543). It is called here, at the denoiser,
and not by a pipeline of its own, so that all tasks and samplers can be controlled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from imagegen.engine.batching.collate import Arguments, select
from imagegen.engine.batching.network import BatchedNetwork
from imagegen.engine.protocols import Pipeline
from imagegen.schema.controls import ControlUse

# The arguments of a UNet's call that a ControlNet gets too.
SHARED_ARGUMENTS = ("timestep", "encoder_hidden_states", "class_labels", "timestep_cond", "added_cond_kwargs")
# By how much the features of each level are weakened, from the innermost outwards, if the prompt or the control counts
# more: as in the web UI's extension (https://github.com/Mikubill/sd-webui-controlnet, "soft injection").
LEVEL_FACTOR = 0.825


@dataclass(frozen=True)
class Control:
    """A ControlNet in use. `cond` is the control map with numbers in 0..1, of shape (1, 3, height, width)."""

    use: ControlUse
    network: BatchedNetwork
    latent_channels: int
    cond: Tensor


@dataclass(frozen=True)
class Residuals:
    """What is added to a UNet's features: after each of its first blocks, and in its middle."""

    down: tuple[Tensor, ...]
    mid: Tensor

    def add(self, other: Residuals) -> Residuals:
        down = tuple(a + b for a, b in zip(self.down, other.down, strict=True))
        return Residuals(down, self.mid + other.mid)


class JobControls:
    """`pipeline` is that of the job's stage, and `pictures` how many it paints at once."""

    def __init__(self, controls: Sequence[Control], pipeline: Pipeline, pictures: int) -> None:
        self.controls, self.pipeline, self.pictures = controls, pipeline, pictures
        self._step = 0

    def end_step(self) -> None:
        """Marks the end of a step."""
        self._step += 1

    def build_arguments(self, arguments: Arguments) -> dict[str, object]:
        """Returns what a call of the denoiser with these arguments gets besides. Called in the job's task."""
        active = [each for each in self.controls if self._is_active(each)]
        residuals = [compute_residuals(each, arguments, self.pictures) for each in active]
        if not residuals:
            return {}
        total = residuals[0]
        for each in residuals[1:]:
            total = total.add(each)
        return {"down_block_additional_residuals": total.down, "mid_block_additional_residual": total.mid}

    def _is_active(self, control: Control) -> bool:
        """Returns whether the share of the steps that a control is for includes the whole current step."""
        steps = self.pipeline.num_timesteps
        use = control.use
        return use.weight > 0 and self._step / steps >= use.start and (self._step + 1) / steps <= use.end


def compute_residuals(control: Control, arguments: Arguments, pictures: int) -> Residuals:
    """Returns what one ControlNet adds to a call of the UNet for `pictures` pictures."""
    sample = arguments["sample"]
    assert isinstance(sample, Tensor)
    rows = len(sample)
    shared = {name: arguments[name] for name in SHARED_ARGUMENTS if arguments.get(name) is not None}
    output = control.network(
        sample=sample[:, : control.latent_channels],
        **shared,
        controlnet_cond=control.cond.expand(rows, -1, -1, -1),
        conditioning_scale=1.0,
    )
    assert isinstance(output, tuple)
    return weigh_residuals(select(output, Tensor), control.use, rows, pictures)


def weigh_residuals(levels: Sequence[Tensor], use: ControlUse, rows: int, pictures: int) -> Residuals:
    """Returns the features of a ControlNet, with the innermost last, as its weight and mode say.

    If the control counts more, only the rows with the prompt get them, which are the last `pictures` of `rows`.
    """
    is_soft = use.mode != "balanced"
    factors = [use.weight * LEVEL_FACTOR ** (len(levels) - 1 - level if is_soft else 0) for level in range(len(levels))]
    weighed = [tensor * factor for tensor, factor in zip(levels, factors, strict=True)]
    if use.mode == "control" and rows > pictures:
        has_prompt = (torch.arange(rows, device=levels[0].device) >= rows - pictures).to(levels[0].dtype)
        weighed = [tensor * has_prompt.view(-1, 1, 1, 1) for tensor in weighed]
    return Residuals(tuple(weighed[:-1]), weighed[-1])
