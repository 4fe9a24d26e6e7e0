"""Samplers by their usual names, and the diffusers schedulers that implement them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import wraps
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from imagegen.engine.protocols import Config, Scheduler, SchedulerClass
from imagegen.schema.field_types import SamplerName

# The keys of a scheduler's configuration that are facts of the model. The others configure the sampler.
MODEL_CONFIG_KEYS = (
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
# The same for models trained with flow matching.
FLOW_CONFIG_KEYS = (
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
# The same for models with the noise levels of EDM (https://arxiv.org/abs/2206.00364), such as Playground 2.5 and CosXL.
EDM_CONFIG_KEYS = (
    "num_train_timesteps",
    "sigma_min",
    "sigma_max",
    "sigma_data",
    "sigma_schedule",
    "rho",
    "prediction_type",
    "final_sigmas_type",
)

# Divisors of 1,000, so that the first step is the noisiest. Distillation used the first of them.
LCM_SCHEDULE_LENGTHS = (50, 100, 200, 500, 1000)


class ExactStepsMixin:
    """Makes a scheduler run exactly the requested number of steps.

    With trailing timesteps, a rounding error in diffusers 0.42.1 adds the timestep -1 at 61, 103, 121 and 122 steps.
    Most schedulers waste a step on it; DDIM treats it as pure noise, which ruins the picture.
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


def wrap_scheduler(scheduler_class: Any) -> Any:
    """Returns the scheduler class with exact steps. After each step, `estimate` holds the denoised estimate."""

    @wraps(scheduler_class.step)  # Pipelines inspect its parameters.
    def step(self: Any, *args: Any, return_dict: bool = True, **options: Any) -> Any:
        output = scheduler_class.step(self, *args, return_dict=True, **options)
        found = output.get("pred_original_sample", output.get("denoised"))
        # Multistep solvers keep their estimates in a list.
        self.estimate = self.model_outputs[-1] if found is None else found
        return output if return_dict else output.to_tuple()

    return type(scheduler_class.__name__, (ExactStepsMixin, scheduler_class), {"step": step})


class FineLCM(LCMScheduler):  # type: ignore[misc] # It has no types.
    """LCM with any number of steps; diffusers' own runs at most the 50 steps of the distillation."""

    def set_timesteps(self, num_inference_steps: int, device: Any = None, **options: Any) -> None:
        longest = self.config.num_train_timesteps
        fitting = (length for length in LCM_SCHEDULE_LENGTHS if num_inference_steps <= length <= longest)
        schedule = next(fitting, longest)
        super().set_timesteps(num_inference_steps, device, original_inference_steps=schedule, **options)


class FlowEuler(FlowMatchEulerDiscreteScheduler):  # type: ignore[misc] # It has no types.
    """After each step, `estimate` holds the denoised estimate: the end of the straight line through the latents."""

    estimate: Tensor

    def stretch_shift_to_terminal(self, t: Tensor) -> Tensor:
        """A single step has no last one to stretch to `shift_terminal`: diffusers 0.42.1 divides by zero there."""
        return t if len(t) == 1 else super().stretch_shift_to_terminal(t)

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, **options: Any) -> Any:
        if self.step_index is None:
            self._init_step_index(timestep)
        self.estimate = sample.float() - self.sigmas[self.step_index] * model_output.float()
        return super().step(model_output, timestep, sample, **options)


DDIM = wrap_scheduler(DDIMScheduler)
DPM_SOLVER = wrap_scheduler(DPMSolverMultistepScheduler)
EULER = wrap_scheduler(EulerDiscreteScheduler)
EULER_ANCESTRAL = wrap_scheduler(EulerAncestralDiscreteScheduler)
LCM = wrap_scheduler(FineLCM)
UNIPC = wrap_scheduler(UniPCMultistepScheduler)
EDM_EULER = wrap_scheduler(EDMEulerScheduler)
EDM_DPM_SOLVER = wrap_scheduler(EDMDPMSolverMultistepScheduler)

SAMPLERS: Mapping[SamplerName, tuple[SchedulerClass, Mapping[str, object]]] = {
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
FLOW_SAMPLERS: Mapping[SamplerName, tuple[SchedulerClass, Mapping[str, object]]] = {
    "Euler": (FlowEuler, {}),
    "DPM++ 2M": (DPM_SOLVER, {"prediction_type": "flow_prediction", "use_flow_sigmas": True}),
}
# The names are those of EDM_SAMPLERS in `family_facts`.
EDM_SCHEDULERS: Mapping[SamplerName, tuple[SchedulerClass, Mapping[str, object]]] = {
    "DPM++ 2M": (EDM_DPM_SOLVER, {}),
    "DPM++ 2M SDE": (EDM_DPM_SOLVER, {"algorithm_type": "sde-dpmsolver++"}),
    "Euler": (EDM_EULER, {}),
}


def copy_scheduler(scheduler: Scheduler) -> Scheduler:
    """Returns a new scheduler like that of a model."""
    scheduler_class: Any = type(scheduler)
    copy: Scheduler = scheduler_class.from_config(scheduler.config)
    return copy


def create_scheduler(name: SamplerName, config: Config) -> Scheduler:
    """Returns a new scheduler: this sampler, for the model whose scheduler has this configuration.

    Schedulers hold the state of a run, so that each job needs its own.
    """
    if is_flow(config):
        return create_flow_scheduler(name, config)
    if is_edm(config):
        scheduler_class, options = EDM_SCHEDULERS[name]
        return scheduler_class.from_config({key: config[key] for key in EDM_CONFIG_KEYS if key in config}, **options)
    scheduler_class, options = SAMPLERS[name]
    model_config = {field: config[field] for field in MODEL_CONFIG_KEYS if field in config}
    # diffusers warns of Stable Diffusion pipelines with any other offset, and then sets this one.
    return scheduler_class.from_config(model_config, steps_offset=1, **options)


def is_edm(config: Config) -> bool:
    """Returns whether the model has the noise levels of EDM."""
    return "sigma_data" in config


def is_flow(config: Config) -> bool:
    """Returns whether the model was trained with flow matching."""
    return config.get("prediction_type") == "flow_prediction" or "base_image_seq_len" in config


def create_flow_scheduler(name: SamplerName, config: Config) -> Scheduler:
    scheduler_class, options = FLOW_SAMPLERS[name]
    shift = config.get("shift", config.get("flow_shift", 1.0))
    model_config = {field: config[field] for field in FLOW_CONFIG_KEYS if field in config} | {"shift": shift}
    if scheduler_class is not FlowEuler:
        model_config = {"num_train_timesteps": config["num_train_timesteps"], "flow_shift": shift}
    return scheduler_class.from_config(model_config, **options)
