"""The interface of a model family. The methods here are those of most families; a family overrides what differs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from imagegen.engine.batching.collate import DEFAULT_RULES, BatchRules
from imagegen.engine.previews.projection import Projection
from imagegen.engine.prompts.clip import PromptEncoder
from imagegen.engine.protocols import Pipeline, PipelineClass, Scheduler, StepFunction
from imagegen.engine.samplers import create_scheduler
from imagegen.errors import ModelLoadFailed
from imagegen.library.family_facts import Family
from imagegen.schema.field_types import SamplerName
from imagegen.schema.models import ModelSource
from imagegen.schema.sizes import Size
from imagegen.schema.tasks import TaskName


class ModelFamily:
    """What the engine does for models of one architecture.

    `facts` is what the library knows of the family. `batch_rules` says how calls of its denoiser become one.
    `preview_projection` maps its latents to colours, where figures are published; previews/fit.py fits it for the
    other families.
    `single_file_networks` are the classes of networks that `load_from_file` creates.
    """

    facts: Family
    batch_rules: ClassVar[BatchRules] = DEFAULT_RULES
    preview_projection: ClassVar[Projection | None] = None
    single_file_networks: ClassVar[tuple[str, ...]] = ()

    def load_from_file(self, source: ModelSource, config: Path, dtype: torch.dtype) -> Pipeline:
        """Returns the pipeline of a model whose weights, or whose denoiser's weights, are in one file.

        `config` is a folder in diffusers format. Raises ModelLoadFailed and PackageMissing.
        """
        raise ModelLoadFailed(source.name, f"a {self.facts.name} model is not loaded from one file")

    def load_components(self, folder: Path) -> dict[str, object]:
        """Returns components of a model in a folder in diffusers format that diffusers cannot load itself, by name."""
        return {}

    def load_late_components(self, folder: Path) -> dict[str, object]:
        """Returns components, by name, that diffusers cannot load and does not accept either, before it has created a
        pipeline.
        """
        return {}

    def prepare(self, pipeline: Pipeline, dtype: torch.dtype) -> None:
        """Changes a pipeline once after it was loaded in `dtype`."""

    def create_prompt_encoder(self, pipeline: Pipeline) -> PromptEncoder | None:
        """Returns an encoder of prompts, or None where the pipeline encodes them itself."""
        return None

    def build_guidance_arguments(self, scale: float) -> dict[str, float]:
        """Returns the pipeline's argument for a guidance scale; 1 means no guidance."""
        name = self.facts.guidance_argument
        return {} if name is None else {name: scale - self.facts.guidance_offset}

    def arrange_prompts(self, pipeline: Pipeline, prompts: Sequence[str], arguments: dict[str, Any]) -> dict[str, Any]:
        """Returns the arguments that carry the prompts, as the job's pipeline takes them.

        `prompts` has the prompt of each picture, and `arguments` are those that most pipelines take.
        """
        return arguments

    def build_size_arguments(self, size: Size) -> dict[str, object]:
        """Returns the arguments that give a picture its size in pixels; a pipeline gets those that it accepts."""
        width, height = size
        return {"width": width, "height": height, "use_resolution_binning": False}

    def build_step_arguments(self, pipeline: Pipeline, steps: int) -> dict[str, object]:
        """Returns the arguments for a number of steps."""
        return {"num_inference_steps": steps}

    def fit_image(self, image: Image.Image, size: Size) -> Image.Image:
        """Returns an input picture as the pipeline gets it, cropped to the shape of a picture of this size."""
        return ImageOps.fit(image, size, Image.Resampling.LANCZOS)

    def choose_pipeline_class(self, pipeline: Pipeline, task: TaskName) -> PipelineClass | None:
        """Returns the class of a model's pipeline for a task, or None for the one that diffusers chooses."""
        return None

    def prepare_job(self, pipeline: Pipeline, size: Size) -> None:
        """Changes a job's own pipeline before it draws pictures of this size in pixels."""

    def create_scheduler(self, pipeline: Pipeline, sampler: SamplerName) -> Scheduler:
        """Returns a new scheduler for jobs with a model's pipeline and this sampler."""
        return create_scheduler(sampler, pipeline.scheduler.config)

    def watch_steps(self, pipeline: Pipeline, callback: StepFunction) -> dict[str, object]:
        """Returns the arguments that make a job's pipeline call `callback` after each step. Called in its task."""
        return {"callback_on_step_end": callback}

    def get_denoiser(self, pipeline: Pipeline) -> nn.Module:
        """Returns the network that each step calls."""
        denoiser: nn.Module = getattr(pipeline, self.facts.denoiser)
        return denoiser

    def count_picture_tokens(self, pipeline: Pipeline, size: Size) -> int | None:
        """Returns how many tokens of the denoiser's input, along its dimension 1, are those of a picture of this size.

        The others are those of a picture that it looks at. None if there are no others, or no tokens.
        """
        return None

    def get_denoised_estimate(self, pipeline: Pipeline, height: int) -> Tensor:
        """Returns the denoised estimate after a step, of shape (n, channels, height, width) in latents.

        `pipeline` is that of the job; `height` is that of the picture in pixels.
        """
        return pipeline.scheduler.estimate

    def encode_latents(self, pipeline: Pipeline, images: Tensor) -> Tensor:
        """Returns the latents of images with numbers in -1..1, scaled as the denoiser gets them.

        Both are of shape (n, channels, height, width).
        """
        encoded, config = pipeline.vae.encode(images), pipeline.vae.config
        latents: Tensor = encoded.latent_dist.mode() if "latent_dist" in encoded else encoded[0]
        if config.get("latents_mean") is not None and config.get("latents_std") is not None:
            mean, deviation = (expand_channels(config[name], latents) for name in ("latents_mean", "latents_std"))
            return (latents - mean) * (config.get("scaling_factor") or 1) / deviation
        return (latents - (config.get("shift_factor") or 0)) * (config.get("scaling_factor") or 1)


def expand_channels(values: Any, like: Tensor) -> Tensor:
    """Returns one number per channel, shaped for latents of shape (n, channels, height, width)."""
    return torch.as_tensor(values).view(1, -1, 1, 1).to(like)
