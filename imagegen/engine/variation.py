"""Variations of a picture: the noise that a pipeline starts from is mixed with the noise of another seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FunctionType

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from torch.nn import functional as F

from imagegen.engine.call_arguments import create_generators
from imagegen.engine.protocols import Pipeline
from imagegen.errors import InvalidRequest
from imagegen.schema.request import GenerationRequest
from imagegen.schema.seeds import derive_variation_seeds

CPU = torch.device("cpu")
# Above this mean cosine of the angles, noise is mixed linearly.
MAX_MEAN_COSINE = 0.9995
# Below this sine of an angle, the weights of the mixture are too inexact.
MIN_SINE = 1e-3


def apply_variation(pipeline: Pipeline, request: GenerationRequest) -> None:
    """Makes a job's pipeline start from varied noise, if the request has a variation strength.

    Raises InvalidRequest for a pipeline without a method of its own that draws the noise.
    """
    if request.variation_strength:
        if not hasattr(type(pipeline), "prepare_latents"):
            raise InvalidRequest("variation_strength", "must be 0: this model has no place for it")
        seeds = [seed for seed in derive_variation_seeds(request) if seed is not None]
        varied = VariedLatents(pipeline, seeds, request.variation_strength)
        pipeline.__dict__["prepare_latents"] = varied.prepare


@dataclass(frozen=True)
class VariedLatents:
    """Replaces `prepare_latents` of a pipeline, which draws the noise of pictures, or the noise that is added to a
    start image.

    `seeds` has the variation seed of each picture. What samplers draw at each step is not varied, as in
    AUTOMATIC1111's web UI.
    """

    pipeline: Pipeline
    seeds: Sequence[int]
    strength: float

    def prepare(self, *args: object, **options: object) -> object:
        """Returns what the pipeline's own method returns, with mixed noise."""
        variation_noise = self._draw_variation_noise(args, options)

        def draw(
            shape: Sequence[int], generator: object, device: torch.device, dtype: torch.dtype | None = None
        ) -> Tensor:
            noise = randn_tensor(tuple(shape), generator, CPU, dtype)
            mixed = [slerp(own, other, self.strength) for own, other in zip(noise, variation_noise, strict=True)]
            return torch.stack(mixed).to(device)

        return self._prepare_with(draw, args, options)

    def _draw_variation_noise(self, args: Sequence[object], options: dict[str, object]) -> Tensor:
        """Returns the noise that pictures of the variation seeds start from.

        The whole method runs, because it may use the generators before, to encode a start image.
        """
        drawn: list[Tensor] = []

        def draw(
            shape: Sequence[int], generator: object, device: torch.device, dtype: torch.dtype | None = None
        ) -> Tensor:
            drawn.append(randn_tensor(tuple(shape), generator, CPU, dtype))
            return drawn[-1].to(device)

        generators = create_generators(self.seeds)

        def replace(value: object) -> object:
            is_generators = isinstance(value, list) and isinstance(value[0], torch.Generator)
            return generators if is_generators else value

        self._prepare_with(
            draw, [replace(value) for value in args], {name: replace(value) for name, value in options.items()}
        )
        (noise,) = drawn
        return noise

    def _prepare_with(self, draw: Callable[..., Tensor], args: Sequence[object], options: dict[str, object]) -> object:
        prepare = type(self.pipeline).prepare_latents
        assert isinstance(prepare, FunctionType)
        return replace_noise(prepare, draw)(self.pipeline, *args, **options)


def replace_noise(prepare: FunctionType, draw: Callable[..., Tensor]) -> FunctionType:
    """Returns a copy of a pipeline's `prepare_latents` that draws its noise with `draw` instead of `randn_tensor`.

    The original and its module stay as they are: other jobs use them.
    """
    names = prepare.__globals__ | {"randn_tensor": draw}
    copy = FunctionType(prepare.__code__, names, prepare.__name__, prepare.__defaults__, prepare.__closure__)
    copy.__kwdefaults__ = prepare.__kwdefaults__
    return copy


def slerp(low: Tensor, high: Tensor, strength: float) -> Tensor:
    """Returns the spherical interpolation between the noise of one picture and another.

    Both are of shape (..., rows, columns). At 0 it is `low`, at 1 it is `high`, both exactly. As `slerp` in
    modules/rng.py of AUTOMATIC1111's web UI (https://github.com/AUTOMATIC1111/stable-diffusion-webui), it turns the
    rows of each channel and column by their own angle (its dim 1 of channels, rows and columns), and is linear for
    noise that is nearly the same. Unlike there, single angles without a usable sine are also linear: noise with few
    rows has some, which would become infinite.
    """
    start, end = low.float(), high.float()
    linear = torch.lerp(start, end, strength)
    cosine = (F.normalize(start, dim=-2) * F.normalize(end, dim=-2)).sum(-2, keepdim=True)
    if cosine.mean() > MAX_MEAN_COSINE:
        return linear.to(low.dtype)
    angle = torch.acos(cosine.clamp(-1, 1))
    sine = torch.sin(angle)
    mixed = torch.sin((1 - strength) * angle) / sine * start + torch.sin(strength * angle) / sine * end
    return torch.where(sine > MIN_SINE, mixed, linear).to(low.dtype)
