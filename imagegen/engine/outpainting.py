"""Outpainting: the start image is extended by its mirror image with noise, which is then inpainted."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from imagegen.engine.inpainting import InpaintingPlan, cover_latents, soften
from imagegen.schema.outpainting import Margins, compute_margins
from imagegen.schema.request import GenerationRequest

# The new part overlaps the edge of the start image by a soft mask of this standard deviation, in pixels.
EDGE_BLUR = 6
# The standard deviation of the noise on the mirror image, of 255.
NOISE = 20.0
# An extended picture that is smaller than the requested one by less is extended further, instead of enlarged.
MAX_ROUNDING = 64


def plan_outpainting(request: GenerationRequest, start_image: Image.Image, latent_side: int) -> InpaintingPlan:
    """Returns what to paint: all that is around the start image. Its pixels stay as they are, but for a soft edge.

    Where width and height are not those of the extended picture, that is resized and cropped to them.
    """
    assert request.width is not None and request.height is not None
    size = request.width, request.height
    margins = compute_margins(request, start_image.size)
    width, height = (wanted - side for wanted, side in zip(size, margins.extend(start_image.size), strict=True))
    if 0 <= width < MAX_ROUNDING and 0 <= height < MAX_ROUNDING:
        margins = margins.grow(width, height)
    picture = ImageOps.fit(mirror_edges(start_image, margins), size, Image.Resampling.LANCZOS)
    mask = soften(ImageOps.fit(draw_margins(start_image.size, margins), size, Image.Resampling.BILINEAR), EDGE_BLUR)
    start = Image.composite(add_noise(picture), picture, mask)
    return InpaintingPlan(picture, mask, (0, 0, *size), start, cover_latents(mask, latent_side))


def mirror_edges(image: Image.Image, margins: Margins) -> Image.Image:
    """Returns the picture with its mirror image around it."""
    across, down = (margins.left, margins.right), (margins.top, margins.bottom)
    return Image.fromarray(np.pad(np.asarray(image), (down, across, (0, 0)), mode="symmetric"))


def draw_margins(size: tuple[int, int], margins: Margins) -> Image.Image:
    """Returns a mask in L of what is around a picture of this size."""
    mask = Image.new("L", margins.extend(size), 255)
    mask.paste(0, (margins.left, margins.top, margins.left + size[0], margins.top + size[1]))
    return mask


def add_noise(image: Image.Image) -> Image.Image:
    """Returns the picture with noise, the same for each seed, so that all pictures of a job can have it."""
    pixels = np.asarray(image, np.float32)
    noise = np.random.default_rng(0).normal(0, NOISE, pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))
