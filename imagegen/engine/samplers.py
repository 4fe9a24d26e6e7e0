"""Samplers by the names that people know, and the diffusers schedulers that they are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import wraps
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

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
# The same for models that were trained by flow matching.
OF_THE_FLOW = (
    "num_train_timesteps",
    "shift",
    "use_dynamic_shifting",
    "base_shift",
    "max_shift",
    "base_image_seq_len",
    "max_image_seq_len",
    "shift_terminal",
    "time_shift_type",
)

# Divisors of 1,000, so that the first step is the noisiest. What was distilled learned the first.
LCM_SCHEDULES = (50, 100, 200)


class WholeSteps:
    """Keeps a scheduler to the number of steps asked for.

    With trailing timesteps a rounding error in diffusers 0.42.1 adds one more, the time -1, at 61, 103, 121 and 122
    steps. Most schedulers waste a step on it; DDIM takes it for pure noise, and ruins the picture.
    """

    timesteps: Tensor
    sigmas: Tensor
    num_inference_steps: int

    def set_timesteps(self, num_inference_steps: int, *args: Any, **options: Any) -> None:
        super().set_timesteps(num_inference_steps, *args, **options)  # type: ignore[misc]
        if len(self.timesteps) > num_inference_steps:
            self.num_inference_steps = num_inference_steps
            self.timesteps = self.timesteps[:num_inference_steps]
            if hasattr(self, "sigmas"):
                self.sigmas = torch.cat([self.sigmas[:num_inference_steps], self.sigmas[-1:]])


def improved(kind: Any) -> Any:
    """The scheduler class, with whole steps. After each, `estimate` is what it takes the finished latents to be."""

    @wraps(kind.step)  # The pipeline asks which parameters it has.
    def step(self: Any, *args: Any, return_dict: bool = True, **options: Any) -> Any:
        output = kind.step(self, *args, return_dict=True, **options)
        found = output.get("pred_original_sample", output.get("denoised"))
        # The multistep solvers keep their estimates themselves.
        self.estimate = self.model_outputs[-1] if found is None else found
        return output if return_dict else output.to_tuple()

    return type(kind.__name__, (WholeSteps, kind), {"step": step})


class FineLCM(LCMScheduler):  # type: ignore[misc] # It has no types.
    """Takes as many steps as asked for, where diffusers' own takes no more than the 50 of the distillation."""

    def set_timesteps(self, num_inference_steps: int, device: Any = None, **options: Any) -> None:
        schedule = next(length for length in LCM_SCHEDULES if length >= num_inference_steps)
        super().set_timesteps(num_inference_steps, device, original_inference_steps=schedule, **options)


class FlowEuler(FlowMatchEulerDiscreteScheduler):  # type: ignore[misc] # It has no types.
    """After each step, `estimate` is where the straight line through the latents ends."""

    estimate: Tensor

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, **options: Any) -> Any:
        if self.step_index is None:
            self._init_step_index(timestep)
        self.estimate = sample.float() - self.sigmas[self.step_index] * model_output.float()
        return super().step(model_output, timestep, sample, **options)


DDIM = improved(DDIMScheduler)
DPM_SOLVER = improved(DPMSolverMultistepScheduler)
EULER = improved(EulerDiscreteScheduler)
EULER_ANCESTRAL = improved(EulerAncestralDiscreteScheduler)
LCM = improved(FineLCM)
UNIPC = improved(UniPCMultistepScheduler)

SAMPLERS: Mapping[SamplerName, tuple[Any, Mapping[str, Any]]] = {
    "Euler": (EULER, {}),
    "Euler a": (EULER_ANCESTRAL, {}),
    "DDIM": (DDIM, {"clip_sample": False}),
    "DPM++ 2M": (DPM_SOLVER, {}),
    "DPM++ 2M Karras": (DPM_SOLVER, {"use_karras_sigmas": True}),
    "DPM++ 2M SDE": (DPM_SOLVER, {"algorithm_type": "sde-dpmsolver++"}),
    "DPM++ 2M SDE Karras": (DPM_SOLVER, {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True}),
    "UniPC": (UNIPC, {}),
    "LCM": (LCM, {}),
}
FLOW_SAMPLERS: Mapping[SamplerName, tuple[Any, Mapping[str, Any]]] = {
    "Euler": (FlowEuler, {}),
    "DPM++ 2M": (DPM_SOLVER, {"prediction_type": "flow_prediction", "use_flow_sigmas": True}),
}


def scheduler_for(name: SamplerName, config: Mapping[str, Any]) -> Any:
    """A new scheduler: the sampler of that name for the model whose scheduler has this configuration.

    Schedulers keep the state of a run, so every request needs its own.
    """
    if is_flow(config):
        return flow_scheduler(name, config)
    kind, options = SAMPLERS[name]
    of_the_model = {field: config[field] for field in OF_THE_MODEL if field in config}
    # diffusers warns of Stable Diffusion pipelines with any other offset, and then sets this one.
    return kind.from_config(of_the_model, steps_offset=1, **options)


def is_flow(config: Mapping[str, Any]) -> bool:
    return config.get("prediction_type") == "flow_prediction" or "base_image_seq_len" in config


def flow_scheduler(name: SamplerName, config: Mapping[str, Any]) -> Any:
    kind, options = FLOW_SAMPLERS[name]
    shift = config.get("shift", config.get("flow_shift", 1.0))
    of_the_model = {field: config[field] for field in OF_THE_FLOW if field in config} | {"shift": shift}
    if kind is not FlowEuler:
        of_the_model = {"num_train_timesteps": config["num_train_timesteps"], "flow_shift": shift}
    return kind.from_config(of_the_model, **options)
