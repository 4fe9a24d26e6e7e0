"""One request on its way through a pipeline: what it is called with, and what happens at each step."""

from __future__ import annotations

import inspect
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor

from imagegen.engine.fibres import elsewhere, waited
from imagegen.engine.previews import Projection, preview
from imagegen.errors import BadLatents
from imagegen.library.families import Family
from imagegen.schema import SEED_LIMIT, GenerationRequest, Progress

# A person sees no more of a picture that forms.
SECONDS_BETWEEN_PREVIEWS = 0.25
# Steps that a GPU may have yet to compute when the next is prepared.
AHEAD = 1


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


class Later:
    """What a GPU has yet to compute, on its way to main memory. Others go on meanwhile."""

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
        self._event = torch.cuda.Event(blocking=True)
        self._event.record()

    @property
    def is_there(self) -> bool:
        return bool(self._event.query())

    def fetched(self) -> list[Tensor]:
        """Waits for it. For this alone, not for what was asked of the GPU since."""
        self._event.synchronize()
        return self.tensors


class Steps:
    """Called by the pipeline after each step: looks at the latents, and tells how far the run is.

    A GPU computes while the next step is prepared. It is not made to wait: what it says is read when it is there. But
    no run is further ahead of it than AHEAD steps: who comes or leaves would not be noticed, and nothing be seen.
    """

    def __init__(
        self, control: Control, view: View, say: Callable[[Progress], None], over: Callable[[], None] = lambda: None
    ) -> None:
        """`over` is called after each step."""
        self.control, self.view, self.say, self.over = control, view, say, over
        self.began = time.monotonic()
        self.first_step = self.began
        self.last_preview = -math.inf
        self.unread: list[tuple[int, Later]] = []
        self.picture: Future[str] | None = None

    def __call__(self, pipeline: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if self.control.cancelled.is_set():
            raise Stopped
        self.over()
        step, steps = index + 1, int(pipeline.num_timesteps)
        self.check(step, torch.isfinite(tensors["latents"]).all())
        seconds_left = self.seconds_left(step, steps)
        picture = self.preview(pipeline.scheduler.estimate) if step < steps else None
        self.say(Progress(step=step, steps=steps, seconds_left=seconds_left, preview=picture))
        return {}

    def check(self, step: int, finite: Tensor) -> None:
        if not finite.is_cuda:
            if not finite:
                raise BadLatents(step)
            return
        self.unread.append((step, Later(finite)))
        while len(self.unread) > AHEAD or (self.unread and self.unread[0][1].is_there):
            step, later = self.unread.pop(0)
            if not later.fetched()[0]:
                raise BadLatents(step)

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
        if self.picture is not None:
            if not self.picture.done():
                return None
            made, self.picture = self.picture.result(), None
            return made
        if not self.control.previews.is_set() or now - self.last_preview < SECONDS_BETWEEN_PREVIEWS:
            return None
        self.last_preview = now
        planes = self.view.planes(estimate)
        if not planes.is_cuda:
            return preview(planes, self.view.projection)
        self.picture = elsewhere(lambda: preview(planes, self.view.projection))
        return None


def seeds(request: GenerationRequest) -> list[int]:
    """Each picture takes the seed after the one before; after the last comes the first."""
    assert request.seed is not None
    return [(request.seed + index) % (SEED_LIMIT + 1) for index in range(len(request.prompts))]


def arguments(
    request: GenerationRequest, pipeline: Any, family: Family, init_image: Image.Image | None
) -> dict[str, Any]:
    """What a pipeline is called with, but for the prompts and the callback."""
    assert request.steps is not None
    assert request.width is not None
    assert request.height is not None
    known = parameters(type(pipeline).__call__)
    common = {
        "num_inference_steps": request.steps,
        "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds(request)],
        "output_type": "pt",
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
    return common | {"image": [image] * len(request.prompts), "num_inference_steps": steps, "strength": strength}


@cache
def parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


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


def pictures(decoded: Tensor, step: int) -> list[Image.Image]:
    """Pictures from numbers in 0..1 of shape (n, 3, height, width). Raises BadLatents when they are no numbers.

    While a GPU has yet to compute them, others go on.
    """
    finite = torch.isfinite(decoded).all()
    eight_bits = (decoded.float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    if decoded.is_cuda:
        finite, eight_bits = waited(elsewhere(Later(finite, eight_bits).fetched))
    if not finite:
        raise BadLatents(step)
    return [Image.fromarray(picture) for picture in eight_bits.numpy()]
