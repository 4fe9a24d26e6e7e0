"""What the engine uses of diffusers' classes, which have no types, as protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

# What is called after each step: it gets the pipeline, how many steps were before, the timestep, and tensors by name.
# It returns tensors that replace those.
StepFunction = Callable[..., dict[str, Tensor]]
# The values of a configuration are whatever JSON holds.
Config = Mapping[str, Any]


class Scheduler(Protocol):
    """`estimate` is what the scheduler takes the finished latents to be; it is set after each step."""

    config: Config
    estimate: Tensor
    timesteps: Tensor
    # How often a step calls the denoiser.
    order: int

    def set_timesteps(self, num_inference_steps: int) -> None: ...


class SchedulerClass(Protocol):
    def from_config(self, config: Mapping[str, object], **overrides: object) -> Scheduler: ...


class Autoencoder(Protocol):
    """Images and latents are of shape (n, channels, height, width). Outputs have another class per autoencoder."""

    config: Config
    dtype: torch.dtype

    def encode(self, x: Tensor, **options: object) -> Any: ...

    def decode(self, z: Tensor, **options: object) -> Any: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def to(self, dtype: torch.dtype) -> object: ...

    def register_to_config(self, **values: object) -> None: ...


class PipelineOutput(Protocol):
    """`images` is of shape (n, 3, height, width), with numbers in 0..1."""

    images: Tensor


class Pipeline(Protocol):
    """A diffusers pipeline. `components` also holds its networks, tokenizers and scheduler by name."""

    vae: Autoencoder
    scheduler: Scheduler
    encode_prompt: Callable[..., object]
    # Set during a run, it skips the remaining steps.
    _interrupt: bool

    @property
    def components(self) -> Mapping[str, object]: ...

    @property
    def num_timesteps(self) -> int: ...

    @property
    def do_classifier_free_guidance(self) -> bool: ...

    @property
    def _execution_device(self) -> torch.device: ...

    def __call__(self, **arguments: object) -> PipelineOutput: ...

    def prepare_latents(self, *args: object, **options: object) -> object: ...

    def to(self, device: torch.device) -> object: ...

    def register_modules(self, **components: object) -> None: ...

    def set_progress_bar_config(self, *, disable: bool) -> None: ...

    def enable_model_cpu_offload(self, *, device: torch.device) -> None: ...

    def enable_group_offload(
        self, *, onload_device: torch.device, offload_device: torch.device, offload_type: str
    ) -> None: ...

    def maybe_free_model_hooks(self) -> None: ...

    def remove_all_hooks(self) -> None: ...


class PipelineClass(Protocol):
    """A class of pipelines, or one of diffusers' AutoPipelines."""

    def from_pipe(self, pipeline: Pipeline) -> Pipeline: ...


def get_vae_scale_factor(pipeline: Pipeline) -> int:
    """Returns how many pixels one latent stands for, along a side."""
    factor: int = getattr(pipeline, "vae_scale_factor", 8)
    return factor
