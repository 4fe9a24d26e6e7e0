"""What happens after each step of a pipeline: checks, progress, previews, cancelling, and ending early."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import torch
from torch import Tensor

from imagegen.engine.families.base import ModelFamily
from imagegen.engine.host_copy import AsyncHostCopy
from imagegen.engine.job import JobControl
from imagegen.engine.previews.projection import Compose, LatentColours, render_latent_preview
from imagegen.engine.prompts.prompt_steps import PromptSteps
from imagegen.engine.protocols import Pipeline
from imagegen.engine.run_loop import run_in_thread
from imagegen.errors import NonFiniteLatents
from imagegen.schema.events import Progress

# More previews per second show no more to a viewer.
PREVIEW_INTERVAL_SECONDS = 0.25
# Steps that a GPU may not have computed yet when the next step is submitted to it.
MAX_STEPS_AHEAD = 1


@dataclass(frozen=True)
class LatentView:
    """How previews are rendered from the latents of a job. `height` is that of the picture in pixels.

    `compose` makes the whole picture of what the latents show, if they are only a part of it.
    """

    source: LatentColours
    family: ModelFamily
    height: int
    compose: Compose | None = None

    def get_denoised_estimate(self, pipeline: Pipeline) -> Tensor:
        """Returns the denoised estimate of a job's pipeline, of shape (n, channels, height, width)."""
        return self.family.get_denoised_estimate(pipeline, self.height)

    def render(self, latents: Tensor) -> str:
        return render_latent_preview(latents, self.source, self.compose)


@dataclass(frozen=True)
class CallPlace:
    """Which call of a pipeline it is: of stage number `stage` of `stages`, and of those in its stage, which all have
    as many steps.
    """

    stage: int = 1
    stages: int = 1
    call: int = 1
    calls: int = 1

    @property
    def is_last(self) -> bool:
        return (self.stage, self.call) == (self.stages, self.calls)


class StepCallback:
    """Called by the pipeline after each step. Emits Progress, with a preview now and then if a client wants them.

    It does not wait for the GPU, which computes while the next step is prepared: results are read when they are there.
    But no job is more than MAX_STEPS_AHEAD steps ahead of the GPU. Otherwise all steps would be submitted at once, so
    that a cancel would have no effect, other jobs could not share the steps, and there would be no previews.
    """

    def __init__(
        self,
        control: JobControl,
        view: LatentView,
        emit: Callable[[Progress], None],
        on_step_end: Callable[[], None] = lambda: None,
        place: CallPlace = CallPlace(),
    ) -> None:
        """`on_step_end` is called after each step."""
        self.control, self.view, self.emit, self.on_step_end, self.place = control, view, emit, on_step_end, place
        # The prompts of the job, if they change.
        self.prompt_steps = PromptSteps()
        self.started_at = time.monotonic()
        self.first_step_at = self.started_at
        self.last_preview_at = -math.inf
        self.unchecked: list[tuple[int, AsyncHostCopy]] = []
        self.pending_preview: Future[str] | None = None
        # The last step, and how many there are, in this call.
        self.step = self.steps = 0
        # The latents after the last step.
        self.latents: Tensor | None = None

    def __call__(
        self, pipeline: Pipeline, index: int, timestep: object, tensors: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Raises JobInterrupted and NonFiniteLatents. Returns the tensors that replace those of the pipeline: those of
        another prompt, or the latents of a job that ends early.
        """
        self.control.raise_if_cancelled()
        self.on_step_end()
        self.latents = tensors["latents"]
        step, steps = self.step, self.steps = index + 1, pipeline.num_timesteps
        self.check_finite(step, torch.isfinite(tensors["latents"]).all())
        place = self.place
        seconds_left = self.estimate_seconds_left(step, steps * (place.calls - place.call + 1))
        preview = self.make_preview(pipeline) if step < steps else None
        self.emit(
            Progress(
                step=self.stage_step,
                steps=steps * place.calls,
                stage=place.stage,
                stages=place.stages,
                seconds_left=seconds_left,
                preview=preview,
            )
        )
        is_ended_early = step < steps and self.control.finish_requested.is_set()
        if is_ended_early:
            return self.end_early(pipeline, tensors["latents"])
        return self.prompt_steps.find_changes(pipeline, index)

    @property
    def stage_step(self) -> int:
        """The last step, counted from the beginning of the stage."""
        return (self.place.call - 1) * self.steps + self.step

    @property
    def is_ended_early(self) -> bool:
        """Whether the job's pictures are kept as they are after this call, although steps or stages are left."""
        is_whole = self.step == self.steps and self.place.is_last
        return self.control.finish_requested.is_set() and not is_whole

    def end_early(self, pipeline: Pipeline, latents: Tensor) -> dict[str, Tensor]:
        """Makes the pipeline skip its remaining steps, and decode the denoised estimate instead of the latents.

        The latents still have the noise of the steps that are skipped. AUTOMATIC1111's web UI keeps the estimate too.
        """
        pipeline._interrupt = True  # noqa: SLF001 It has no setter.
        return {"latents": pipeline.scheduler.estimate.to(latents.dtype)}

    def check_finite(self, step: int, finite: Tensor) -> None:
        """`finite` is a single boolean. On a GPU it is read later, so that the error may come a step or two later."""
        if not finite.is_cuda:
            if not finite:
                raise NonFiniteLatents(step)
            return
        self.unchecked.append((step, AsyncHostCopy(finite)))
        while len(self.unchecked) > MAX_STEPS_AHEAD or (self.unchecked and self.unchecked[0][1].is_ready):
            step, copy = self.unchecked.pop(0)
            if not copy.wait_for_tensors()[0]:
                raise NonFiniteLatents(step)

    def estimate_seconds_left(self, step: int, steps: int) -> float:
        """Returns the seconds left in this stage, at the pace so far.

        The first step takes longer than the others, so that it counts only while it is the only one.
        """
        now = time.monotonic()
        if step == 1:
            self.first_step_at = now
            return (now - self.started_at) * (steps - 1)
        return (now - self.first_step_at) / (step - 1) * (steps - step)

    def make_preview(self, pipeline: Pipeline) -> str | None:
        """Returns a preview of the denoised estimate, if one is due. The latents themselves are mostly noise.

        On a GPU it is rendered in another thread, and returned after one of the next steps.
        """
        if self.pending_preview is not None:
            return self._take_pending_preview()
        now = time.monotonic()
        if not self.control.wants_previews.is_set() or now - self.last_preview_at < PREVIEW_INTERVAL_SECONDS:
            return None
        self.last_preview_at = now
        latents = self.view.get_denoised_estimate(pipeline)
        if not latents.is_cuda:
            return self.view.render(latents)
        self.pending_preview = run_in_thread(lambda: self.view.render(latents))
        return None

    def _take_pending_preview(self) -> str | None:
        if self.pending_preview is None or not self.pending_preview.done():
            return None
        finished, self.pending_preview = self.pending_preview.result(), None
        return finished
