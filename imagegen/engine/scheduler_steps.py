"""Steps of a pipeline, seen from its scheduler: for pipelines that do not call back, or cannot be interrupted."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch import Tensor

from imagegen.engine.job import EngineJob
from imagegen.engine.protocols import Pipeline, StepFunction
from imagegen.engine.run_loop import get_context
from imagegen.engine.step_cache import StepCache


def report_steps(pipeline: Pipeline, callback: StepFunction) -> None:
    """Makes the scheduler of a job's pipeline set `estimate` and call `callback` after each step.

    Called in the job's task. The scheduler keeps its class, for which pipelines ask. When the job ends early, the
    pipeline goes on to its last step, but nothing is computed any more: its denoiser returns what it did last, and its
    scheduler the denoised estimate.
    """
    scheduler: Any = pipeline.scheduler
    reporter = StepReporter(pipeline, scheduler.step, callback, get_context(EngineJob).step_cache)

    @wraps(scheduler.step)  # Pipelines inspect its parameters.
    def step(*args: Any, return_dict: bool = True, **options: Any) -> Any:
        output = reporter.run(*args, **options)
        return output if return_dict else output.to_tuple()

    scheduler.step = step


class StepReporter:
    """Runs the steps of one job. `step` is that of the scheduler's class."""

    def __init__(
        self, pipeline: Pipeline, step: Callable[..., Any], callback: StepFunction, step_cache: StepCache
    ) -> None:
        self.pipeline, self.step, self.callback, self.step_cache = pipeline, step, callback, step_cache
        self.count = 0
        self.last_output: Any = None

    def run(self, *args: Any, **options: Any) -> Any:
        """Returns what the scheduler's step returns, by name; after an early end always the same."""
        if self.last_output is not None:
            self.step_cache.end_step()
            return self.last_output
        output = self.step(*args, return_dict=True, **options)
        scheduler = self.pipeline.scheduler
        scheduler.estimate = find_estimate(scheduler, output, args)
        if not hasattr(type(self.pipeline), "num_timesteps"):
            self.pipeline.__dict__["num_timesteps"] = len(scheduler.timesteps)
        changed = self.callback(self.pipeline, self.count, None, {"latents": output.prev_sample})
        self.count += 1
        if changed:
            self.step_cache.repeat_outputs()
            output = self.last_output = type(output)(**{**output, "prev_sample": changed["latents"]})
        return output


def find_estimate(scheduler: Any, output: Any, args: tuple[Any, ...]) -> Tensor:
    """Returns the denoised estimate after a step; the noisy latents of a scheduler that has none.

    `args` are those of the step: the denoiser's output, the timestep, and the latents.
    """
    known: Tensor | None = output.get("pred_original_sample", output.get("denoised"))
    if known is not None:
        return known
    if hasattr(scheduler, "model_outputs"):  # Multistep solvers keep their estimates in a list.
        known = scheduler.model_outputs[-1]
    elif len(args) == 3 and "base_image_seq_len" in scheduler.config:  # The end of the straight line of the flow.
        known = args[2].float() - scheduler.sigmas[scheduler.step_index - 1] * args[0].float()
    return output.prev_sample if known is None else known
