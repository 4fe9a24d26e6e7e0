"""One request on its way through a pipeline: what it is called with, and what happens at each step."""

from __future__ import annotations

import inspect
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from imagegen.engine.previews import Projection, preview
from imagegen.errors import BadLatents
from imagegen.library.families import Family
from imagegen.schema import SEED_LIMIT, GenerationRequest, Progress

# A person sees no more of a picture that forms.
SECONDS_BETWEEN_PREVIEWS = 0.25


@dataclass(frozen=True)
class Control:
    """What others may say to a run. `previews` is set while somebody watches."""

    cancelled: threading.Event
    previews: threading.Event


@dataclass(frozen=True)
class View:
    """How to look at the latents of one run: brought to planes, and then seen as colours."""

    projection: Projection
    planes: Callable[[Tensor], Tensor]


class Stopped(Exception):
    """The run was cancelled."""


class Steps:
    """Called by the pipeline after each step: looks at the latents, and tells how far the run is."""

    def __init__(self, control: Control, view: View, say: Callable[[Progress], None]) -> None:
        self.control, self.view, self.say = control, view, say
        self.began = time.monotonic()
        self.first_step = self.began
        self.last_preview = -math.inf

    def __call__(self, pipeline: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if self.control.cancelled.is_set():
            raise Stopped
        step, steps = index + 1, int(pipeline.num_timesteps)
        if not torch.isfinite(tensors["latents"]).all():
            raise BadLatents(step)
        seconds_left = self.seconds_left(step, steps)
        picture = self.preview(pipeline.scheduler.estimate) if step < steps else None
        self.say(Progress(step=step, steps=steps, seconds_left=seconds_left, preview=picture))
        return {}

    def seconds_left(self, step: int, steps: int) -> float:
        """At the pace so far. The first step, which takes longer, counts only while there is no other."""
        now = time.monotonic()
        if step == 1:
            self.first_step = now
            return (now - self.began) * (steps - 1)
        return (now - self.first_step) / (step - 1) * (steps - step)

    def preview(self, estimate: Tensor) -> str | None:
        """Of what the latents will be: they themselves are noise until the last steps."""
        now = time.monotonic()
        wanted = self.control.previews.is_set() and now - self.last_preview >= SECONDS_BETWEEN_PREVIEWS
        if not wanted:
            return None
        self.last_preview = now
        return preview(self.view.planes(estimate), self.view.projection)


def seeds(request: GenerationRequest) -> list[int]:
    """Each picture takes the seed after the one before; after the last comes the first."""
    assert request.seed is not None
    return [(request.seed + index) % (SEED_LIMIT + 1) for index in range(request.batch_size)]


def arguments(
    request: GenerationRequest, pipeline: Any, family: Family, init_image: Image.Image | None
) -> dict[str, Any]:
    """What a pipeline is called with, but for the prompts and the callback."""
    assert request.steps is not None
    assert request.width is not None
    assert request.height is not None
    known = inspect.signature(pipeline.__call__).parameters
    common = {
        "num_inference_steps": request.steps,
        "num_images_per_prompt": request.batch_size,
        "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds(request)],
        "output_type": "np",
        **guidance(request, pipeline, family),
        **({"use_resolution_binning": False} if "use_resolution_binning" in known else {}),
        **({"width": request.width, "height": request.height} if "width" in known else {}),
    }
    if init_image is None:
        return common
    image = ImageOps.fit(init_image, (request.width, request.height), Image.Resampling.LANCZOS)
    if request.strength is None:
        return common | {"image": image}
    finest = pipeline.scheduler.config.num_train_timesteps
    steps, strength = schedule(request.steps, request.strength, finest)
    # Some pipelines look for as many pictures as there are seeds.
    return common | {"image": [image] * request.batch_size, "num_inference_steps": steps, "strength": strength}


def guidance(request: GenerationRequest, pipeline: Any, family: Family) -> dict[str, Any]:
    """The guidance scale by the pipeline's name for it, where 1 is none at all."""
    assert request.guidance_scale is not None
    if family.guidance == "true":
        return {"true_cfg_scale": request.guidance_scale}
    # Z-Image adds what others multiply by: 0 is none.
    less = 1.0 if type(pipeline).__name__.startswith("ZImage") else 0.0
    return {"guidance_scale": request.guidance_scale - less}


def schedule(steps: int, strength: float, finest: int) -> tuple[int, float]:
    """Steps and strength for an image-to-image pipeline, which runs int(steps * strength) steps, and must run one.

    Where that would be none, the schedule is made so fine that its last step alone starts at `strength`.
    """
    if int(steps * strength) > 0:
        return steps, strength
    finer = min(math.ceil(1 / strength), finest)
    return finer, 1.5 / finer


def pictures(decoded: NDArray[np.float32], step: int) -> list[Image.Image]:
    """Pictures from numbers in 0..1 of shape (n, height, width, 3). Raises BadLatents when they are no numbers."""
    if not np.isfinite(decoded).all():
        raise BadLatents(step)
    return [Image.fromarray(picture) for picture in (decoded * 255).round().astype(np.uint8)]
