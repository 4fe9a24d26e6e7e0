"""One request on its way through a pipeline: what it is called with, and what happens at each step."""

from __future__ import annotations

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
from imagegen.schema import SEED_LIMIT, GenerationRequest, Progress

# A person sees no more of a picture that forms.
SECONDS_BETWEEN_PREVIEWS = 0.25


@dataclass(frozen=True)
class Control:
    """What others may say to a run. `previews` is set while somebody watches."""

    cancelled: threading.Event
    previews: threading.Event


class Stopped(Exception):
    """The run was cancelled."""


class Steps:
    """Called by the pipeline after each step: looks at the latents, and tells how far the run is."""

    def __init__(self, control: Control, projection: Projection | None, say: Callable[[Progress], None]) -> None:
        self.control, self.projection, self.say = control, projection, say
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
        if self.projection is None or not wanted:
            return None
        self.last_preview = now
        return preview(estimate, self.projection)


def seeds(request: GenerationRequest) -> list[int]:
    """Each picture takes the seed after the one before; after the last comes the first."""
    assert request.seed is not None
    return [(request.seed + index) % (SEED_LIMIT + 1) for index in range(request.batch_size)]


def arguments(request: GenerationRequest, init_image: Image.Image | None, finest: int) -> dict[str, Any]:
    """What a pipeline is called with, but for the prompts and the callback. A schedule has at most `finest` steps."""
    assert request.steps is not None
    assert request.width is not None
    assert request.height is not None
    common = {
        "guidance_scale": request.guidance_scale,
        "num_images_per_prompt": request.batch_size,
        "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds(request)],
        "output_type": "np",
    }
    if init_image is None:
        return common | {"width": request.width, "height": request.height, "num_inference_steps": request.steps}
    assert request.strength is not None
    steps, strength = schedule(request.steps, request.strength, finest)
    image = ImageOps.fit(init_image, (request.width, request.height), Image.Resampling.LANCZOS)
    return common | {"image": image, "num_inference_steps": steps, "strength": strength}


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
