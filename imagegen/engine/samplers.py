"""Samplers by the names that people know, and the diffusers schedulers that they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

from imagegen.schema import SamplerName

# What a scheduler's configuration says about the model. All else in it is about the sampler.
OF_THE_MODEL = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "timestep_spacing",
    "rescale_betas_zero_snr",
    "set_alpha_to_one",
)


class WholeSteps:
    """Keeps a scheduler to the number of steps asked for.

    With trailing timesteps a rounding error in diffusers 0.42.1 adds one more, the time -1, at 61, 103, 121 and 122
    steps. Most schedulers waste a step on it; DDIM takes it for pure noise, and ruins the picture.
    """

    timesteps: torch.Tensor
    sigmas: torch.Tensor
    num_inference_steps: int

    def set_timesteps(self, num_inference_steps: int, *args: Any, **options: Any) -> None:
        super().set_timesteps(num_inference_steps, *args, **options)  # type: ignore[misc]
        if len(self.timesteps) > num_inference_steps:
            self.num_inference_steps = num_inference_steps
            self.timesteps = self.timesteps[:num_inference_steps]
            if hasattr(self, "sigmas"):
                self.sigmas = torch.cat([self.sigmas[:num_inference_steps], self.sigmas[-1:]])


class DDIM(WholeSteps, DDIMScheduler):
    """Denoising diffusion implicit models, https://arxiv.org/abs/2010.02502, with eta 0."""


class DPMSolver(WholeSteps, DPMSolverMultistepScheduler):
    """DPM-Solver++, https://arxiv.org/abs/2211.01095, of second order."""


class Euler(WholeSteps, EulerDiscreteScheduler):
    """Euler's method, https://arxiv.org/abs/2206.00364, algorithm 2 without churn."""


class EulerAncestral(WholeSteps, EulerAncestralDiscreteScheduler):
    """Euler's method with fresh noise at each step, after k-diffusion."""


class UniPC(WholeSteps, UniPCMultistepScheduler):
    """A predictor and a corrector in one, https://arxiv.org/abs/2302.04867, of second order."""


# Typed Any, since diffusers types neither making nor calling a scheduler.
SAMPLERS: Mapping[SamplerName, tuple[Any, Mapping[str, Any]]] = {
    "Euler": (Euler, {}),
    "Euler a": (EulerAncestral, {}),
    "DDIM": (DDIM, {"clip_sample": False}),
    "DPM++ 2M": (DPMSolver, {}),
    "DPM++ 2M Karras": (DPMSolver, {"use_karras_sigmas": True}),
    "DPM++ 2M SDE": (DPMSolver, {"algorithm_type": "sde-dpmsolver++"}),
    "DPM++ 2M SDE Karras": (DPMSolver, {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True}),
    "UniPC": (UniPC, {}),
}


def scheduler_for(name: SamplerName, config: Mapping[str, Any]) -> Any:
    """A new scheduler: the sampler of that name for the model whose scheduler has this configuration.

    Schedulers keep the state of a run, so every request needs its own.
    """
    kind, options = SAMPLERS[name]
    of_the_model = {field: config[field] for field in OF_THE_MODEL if field in config}
    # diffusers warns of Stable Diffusion pipelines with any other offset, and then sets this one.
    return kind.from_config(of_the_model, steps_offset=1, **options)
