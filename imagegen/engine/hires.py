"""The second pass: a picture is made larger and painted again (hires fix of AUTOMATIC1111's web UI)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from imagegen.engine.protocols import Pipeline, get_vae_scale_factor
from imagegen.schema.field_types import LATENT_UPSCALER
from imagegen.schema.request import GenerationRequest
from imagegen.schema.sizes import Size

# Training steps of all models here: a schedule cannot have more.
MAX_SCHEDULE_STEPS = 1000


def build_hires_request(request: GenerationRequest) -> GenerationRequest:
    """Returns the request of the second pass: image to image in its size, with as many steps as were asked for."""
    assert request.steps is not None
    width, height = request.painted_size
    steps = fit_steps(request.hires_steps or request.steps, request.hires_strength)
    return request.model_copy(
        update={"width": width, "height": height, "steps": steps, "strength": request.hires_strength}
    )


def fit_steps(steps: int, strength: float) -> int:
    """Returns the length of a schedule of which image to image runs `steps` steps, int(length * strength)."""
    length = math.ceil(min(steps / strength, MAX_SCHEDULE_STEPS))  # The quotient may be infinite.
    while length < MAX_SCHEDULE_STEPS and int(length * strength) < steps:
        length += 1
    return length


def build_hires_image(
    request: GenerationRequest, pipeline: Pipeline, images: Sequence[Image.Image], latents: Tensor | None
) -> Sequence[Image.Image] | Tensor:
    """Returns what the second pass starts from: the pictures, or their latents in its size."""
    if request.hires_upscaler != LATENT_UPSCALER:
        return images
    assert latents is not None
    return scale_latents(latents, request.painted_size, get_vae_scale_factor(pipeline))


def scale_latents(latents: Tensor, size: Size, pixels_per_latent: int) -> Tensor:
    """Returns latents of shape (n, channels, height, width) for pictures of a size, as the web UI's "Latent" does."""
    width, height = (side // pixels_per_latent for side in size)
    return F.interpolate(latents.float(), (height, width), mode="bilinear").to(latents.dtype)
