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
    """Makes the scheduler of a job's pipeline call `callback` after each step. Called in the job's task.

    When the job ends early, the pipeline goes on to its last step, but nothing is computed any more: its denoiser
    returns what it did last, and its scheduler the denoised estimate.
    """
    scheduler: Any = pipeline.scheduler
    step_cache = get_context(EngineJob).step_cache
    scheduler.step = StepReporter(pipeline, scheduler.step, callback, step_cache).wrap()


class StepReporter:
    """Takes the place of a scheduler's `step`."""

    def __init__(
        self, pipeline: Pipeline, step: Callable[..., Any], callback: StepFunction, step_cache: StepCache
    ) -> None:
        self.pipeline, self.step, self.callback, self.step_cache = pipeline, step, callback, step_cache
        self.count = 0
        self.last_output: Any = None

    def wrap(self) -> Callable[..., Any]:
        """Returns the function, with the signature of `step`, whose parameters pipelines inspect."""

        @wraps(self.step)
        def step(*args: Any, **options: Any) -> Any:
            return self.run(*args, **options)

        return step

    def run(self, *args: Any, **options: Any) -> Any:
        if self.last_output is not None:
            self.step_cache.end_step()
            return self.last_output
        output = self.step(*args, **options)
        if not hasattr(type(self.pipeline), "num_timesteps"):
            self.pipeline.__dict__["num_timesteps"] = len(self.pipeline.scheduler.timesteps)
        changed = self.callback(self.pipeline, self.count, None, {"latents": output[0]})
        self.count += 1
        if not changed:
            return output
        self.step_cache.repeat_outputs()
        self.last_output = replace_sample(output, changed["latents"])
        return self.last_output


def replace_sample(output: Any, sample: Tensor) -> Any:
    """Returns what a scheduler's step returned, with another sample."""
    if isinstance(output, tuple):
        return (sample, *output[1:])
    return type(output)(**{**output, "prev_sample": sample})
