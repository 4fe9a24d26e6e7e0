"""A family that is derived from the class of its pipeline: any text-to-image class of the installed diffusers.

Such pipelines differ in whether they call back after a step and can be interrupted. All call their scheduler once per
step, so that progress, cancelling and ending early work through it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.guiders.guider_utils import BaseGuidance
from torch import Tensor
from torch.nn import functional as F

from imagegen.engine.batching.collate import BatchRules
from imagegen.engine.call_arguments import get_parameters
from imagegen.engine.families.base import ModelFamily, expand_channels
from imagegen.engine.families.packed import unpack_latents
from imagegen.engine.families.picture_processor import load_picture_processors, load_text_processors
from imagegen.engine.protocols import Config, Pipeline, PipelineClass, Scheduler, StepFunction, get_vae_scale_factor
from imagegen.engine.samplers import copy_scheduler
from imagegen.engine.scheduler_steps import report_steps
from imagegen.library.families import find_sibling
from imagegen.library.family_facts import Family
from imagegen.library.pipeline_signatures import read_pipeline_signature
from imagegen.schema.field_types import SamplerName
from imagegen.schema.sizes import Size
from imagegen.schema.tasks import TaskName

# With these, pipelines draw prompts as they are written. Others would rewrite them, by rules or by a language model,
# which draws at random.
VERBATIM_ARGUMENTS = {
    "enable_prompt_rewrite": False,
    "use_pe": False,
    "clean_caption": False,
}
# The steps for which a pipeline of few steps knows the timestep between them.
INTERMEDIATE_STEPS = 2
# Channels of pictures for autoencoders that also encode how opaque they are.
ALPHA_CHANNELS = 4
# Rows and columns of latents in a token of packed ones.
PATCH = 2


# Parts of the names of the classes for tasks.
KIND_BY_TASK: Mapping[TaskName, str] = {"image_to_image": "Img2Img", "inpainting": "Inpaint"}


@dataclass(frozen=True)
class Sibling:
    """In the place of one of diffusers' AutoPipelines: the class of this name, or None for the pipeline's own."""

    name: str | None

    def from_pipe(self, pipeline: Pipeline) -> Pipeline:
        if self.name is None:
            return copy.copy(pipeline)
        sibling_class: Any = getattr(diffusers, self.name)
        accepted = get_parameters(sibling_class.__init__)
        options = {"requires_safety_checker": False}
        values = {**pipeline.components, **options}
        sibling: Pipeline = sibling_class(**{name: value for name, value in values.items() if name in accepted})
        return sibling


class DerivedFamily(ModelFamily):
    batch_rules = BatchRules(
        timesteps=("timestep", "timesteps", "t"),
        positions=("img_ids", "txt_ids"),
        shared=("image_rotary_emb", "position_ids"),
    )

    def __init__(self, facts: Family) -> None:
        self.facts = facts

    def choose_pipeline_class(self, pipeline: Pipeline, task: TaskName) -> PipelineClass | None:
        kind, signature = KIND_BY_TASK.get(task), read_pipeline_signature(self.facts.pipeline)
        return Sibling(None if kind is None or signature is None else find_sibling(signature, kind))

    def load_components(self, folder: Path) -> dict[str, object]:
        return load_picture_processors(folder)

    def load_late_components(self, folder: Path) -> dict[str, object]:
        return load_text_processors(folder)

    def prepare_job(self, pipeline: Pipeline, size: Size) -> None:
        """Guiders keep the state of a run."""
        guiders = {name: part for name, part in pipeline.components.items() if isinstance(part, BaseGuidance)}
        pipeline.__dict__.update(copy.deepcopy(guiders))

    def create_scheduler(self, pipeline: Pipeline, sampler: SamplerName) -> Scheduler:
        return copy_scheduler(pipeline.scheduler)

    def watch_steps(self, pipeline: Pipeline, callback: StepFunction) -> dict[str, object]:
        report_steps(pipeline, callback)
        return {}

    def arrange_prompts(self, pipeline: Pipeline, prompts: Sequence[str], arguments: dict[str, Any]) -> dict[str, Any]:
        """A limit of the prompt's length is only for pipelines that take one."""
        accepted = get_parameters(type(pipeline).__call__)
        limit = {"max_sequence_length"} - accepted.keys()
        kept = {name: value for name, value in arguments.items() if name not in limit}
        return kept | {name: value for name, value in VERBATIM_ARGUMENTS.items() if name in accepted}

    def build_step_arguments(self, pipeline: Pipeline, steps: int) -> dict[str, object]:
        arguments: dict[str, object] = super().build_step_arguments(pipeline, steps)
        accepted = get_parameters(type(pipeline).__call__)
        keeps_default = steps == INTERMEDIATE_STEPS and "strength" not in accepted
        has_default = "intermediate_timesteps" in accepted
        return arguments | ({"intermediate_timesteps": None} if has_default and not keeps_default else {})

    def get_denoised_estimate(self, pipeline: Pipeline, height: int) -> Tensor:
        estimate = pipeline.scheduler.estimate
        return arrange_latents(estimate, count_latent_channels(pipeline.vae.config), height, pipeline)

    def encode_latents(self, pipeline: Pipeline, images: Tensor) -> Tensor:
        """Autoencoders that are made for video have a dimension of frames."""
        vae: Any = pipeline.vae
        config = vae.config
        is_video = "temperal_downsample" in config
        if config.get("in_channels") == ALPHA_CHANNELS:
            images = F.pad(images, (0, 0, 0, 0, 0, 1), value=1.0)
        encoded = vae.encode(images.unsqueeze(2) if is_video else images)
        latents: Tensor = encoded.latent_dist.mode() if "latent_dist" in encoded else encoded[0]
        latents = latents[:, :, 0] if is_video else latents
        if hasattr(vae, "bn"):
            return normalize_patches(vae, latents)
        if config.get("latents_mean") is not None and config.get("latents_std") is not None:
            mean, std = (expand_channels(config[name], latents) for name in ("latents_mean", "latents_std"))
            return (latents - mean) / std * (config.get("scaling_factor") or 1)
        return (latents - (config.get("shift_factor") or 0)) * (config.get("scaling_factor") or 1)


def count_latent_channels(config: Config) -> int:
    channels: int = config.get("latent_channels") or config["z_dim"]
    return channels


def normalize_patches(vae: Any, latents: Tensor) -> Tensor:
    """Returns latents of FLUX.2's autoencoder, whose patches have a mean and a variance that it learned."""
    patches = torch.pixel_unshuffle(latents, PATCH)
    mean, variance = (expand_channels(values, patches) for values in (vae.bn.running_mean, vae.bn.running_var))
    return torch.pixel_shuffle((patches - mean) / (variance + vae.config.batch_norm_eps).sqrt(), PATCH)


def arrange_latents(latents: Tensor, channels: int, height: int, pipeline: Pipeline) -> Tensor:
    """Returns latents of any of the usual layouts in the shape (n, channels, rows, columns).

    They can have a dimension of frames, of which there is one; they can be rows of tokens, of one latent or of a patch
    of them; and patches can be their channels. `height` is that of the picture in pixels.
    """
    if latents.ndim == 5:  # Channels are the second dimension, or the last.
        latents = latents[:, :, 0] if latents.shape[1] == channels else latents[:, 0].movedim(-1, 1)
    rows = height // get_vae_scale_factor(pipeline)
    if latents.ndim == 3 and latents.shape[-1] == channels:
        grid: Tensor = latents.unflatten(1, (rows, -1))
        return grid.movedim(-1, 1)
    if latents.ndim == 3:
        return unpack_latents(latents, rows // PATCH)
    return torch.pixel_shuffle(latents, PATCH) if latents.shape[1] == channels * PATCH * PATCH else latents
