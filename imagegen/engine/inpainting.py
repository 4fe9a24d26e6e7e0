"""Inpainting: what a pipeline gets to paint, and how its picture is put into the start image.

diffusers' pipelines differ in how they crop, blur and paste. Here all of it is done outside of them, the same for all
families: a pipeline gets a picture and a hard mask of the same size, and its output is pasted with a soft mask. What
the fields mean is as in AUTOMATIC1111's web UI (https://github.com/AUTOMATIC1111/stable-diffusion-webui,
modules/processing.py and modules/masking.py), except that the mask is softened outwards: what is masked is painted
anew as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter, ImageOps
from torch import Tensor

from imagegen.engine.call_arguments import create_generators
from imagegen.engine.protocols import Scheduler
from imagegen.schema.field_types import MaskFill
from imagegen.schema.request import GenerationRequest
from imagegen.schema.seeds import derive_seeds
from imagegen.schema.sizes import Box, Size

# From this value of the soft mask on, of 255, latents are painted anew.
PAINTED_FROM = 128
# Radii in pixels of the blurred pictures under a mask, and how often each is laid over the one before; as in the
# web UI's masking.py.
FILL_BLURS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))


@dataclass(frozen=True)
class InpaintingPlan:
    """`picture` is in RGB, and `mask` says how much of it is replaced, in 0..255; both have the same size.

    The pipeline paints what is in `box` of the picture: it gets `start`, and `painted`, a mask of whole latents with
    255 where it paints. Both have the size of the request.
    """

    picture: Image.Image
    mask: Image.Image
    box: Box
    start: Image.Image
    painted: Image.Image

    @property
    def input_images(self) -> Mapping[str, Image.Image]:
        """What the pipeline gets, by the request's fields."""
        return {"init_image": self.start, "mask_image": self.painted}

    @property
    def request_box(self) -> Box:
        """Where `box` is in a picture of the size of the request."""
        return scale_box(self.box, self.picture.size, self.start.size)

    def paste(self, image: Image.Image) -> Image.Image:
        """Returns the start image with a finished picture of the pipeline under the mask. No other pixel changes."""
        return paste(self.picture, image, self.box, self.mask)

    def paste_preview(self, image: Image.Image, max_side: int) -> Image.Image:
        """Returns the whole picture with a small one of the pipeline under the mask, at most `max_side` pixels long."""
        scale = min(1.0, max_side / max(self.picture.size))
        width, height = (max(1, round(side * scale)) for side in self.picture.size)
        left, top = (min(round(self.box[place] * scale), end - 1) for place, end in ((0, width), (1, height)))
        right, bottom = max(left + 1, round(self.box[2] * scale)), max(top + 1, round(self.box[3] * scale))
        small, mask = (each.resize((width, height), Image.Resampling.BOX) for each in (self.picture, self.mask))
        return paste(small, image, (left, top, right, bottom), mask)


def plan_inpainting(
    request: GenerationRequest, start_image: Image.Image, mask_image: Image.Image, latent_side: int
) -> InpaintingPlan:
    """Returns what to paint. `mask_image` is in L and has the size of the start image.

    A latent stands for `latent_side` pixels along each side.
    """
    assert request.width is not None and request.height is not None
    size = request.width, request.height
    picture = ImageOps.fit(start_image, size, Image.Resampling.LANCZOS)
    oriented = ImageOps.invert(mask_image) if request.mask_invert else mask_image
    mask = soften(ImageOps.fit(oriented, size, Image.Resampling.BILINEAR), request.mask_blur)
    box = find_masked_box(mask, request.mask_padding) if request.mask_area == "masked" else (0, 0, *size)
    start = resize_region(start_image, size, box)
    enlarged_mask = mask if box == (0, 0, *size) else mask.resize(size, Image.Resampling.BILINEAR, box)
    if request.mask_fill == "fill":
        start = fill_from_surroundings(start, enlarged_mask)
    return InpaintingPlan(picture, mask, box, start, cover_latents(enlarged_mask, latent_side))


def soften(mask: Image.Image, radius: int) -> Image.Image:
    """Returns the mask with a soft edge outside of what is white. `radius` is the standard deviation in pixels."""
    if not radius:
        return mask
    blurred = mask.filter(ImageFilter.GaussianBlur(radius))
    # At a straight edge the blurred mask is half white.
    return ImageChops.lighter(mask, blurred.point(lambda value: min(255, 2 * value)))


def find_masked_box(mask: Image.Image, padding: int) -> Box:
    """Returns the smallest box with the proportions of the mask around all that is not black, and `padding` pixels."""
    left, top, right, bottom = mask.getbbox() or (0, 0, *mask.size)
    left, top = max(0, left - padding), max(0, top - padding)
    right, bottom = min(mask.width, right + padding), min(mask.height, bottom + padding)
    scale = max((right - left) / mask.width, (bottom - top) / mask.height)
    width, height = min(mask.width, math.ceil(mask.width * scale)), min(mask.height, math.ceil(mask.height * scale))
    left = min(max(0, (left + right - width) // 2), mask.width - width)
    top = min(max(0, (top + bottom - height) // 2), mask.height - height)
    return left, top, left + width, top + height


def scale_box(box: Box, size: Size, target: Size) -> Box:
    """Returns where a box of a picture of a size is in one of another size."""
    left, right = (round(place * target[0] / size[0]) for place in (box[0], box[2]))
    top, bottom = (round(place * target[1] / size[1]) for place in (box[1], box[3]))
    return left, top, max(right, left + 1), max(bottom, top + 1)


def resize_region(image: Image.Image, size: Size, box: Box) -> Image.Image:
    """Returns a part of a picture, enlarged to `size` from the picture's own pixels.

    `box` is the part in pixels of the picture when it is fitted to `size`.
    """
    scale = min(image.width / size[0], image.height / size[1])
    left, top = (image.width - size[0] * scale) / 2, (image.height - size[1] * scale) / 2
    source = (
        left + box[0] * scale,
        top + box[1] * scale,
        min(left + box[2] * scale, image.width),
        min(top + box[3] * scale, image.height),
    )
    return image.resize(size, Image.Resampling.LANCZOS, source)


def cover_latents(mask: Image.Image, latent_side: int) -> Image.Image:
    """Returns a mask of whole latents, in L: 255 for each latent that a pixel of the mask is painted in, 0 for others.

    Pipelines make latents of a mask by taking one pixel of each.
    """
    is_painted = np.asarray(mask) >= PAINTED_FROM
    return Image.fromarray(repeat_pixels(pool(is_painted, latent_side), latent_side, mask.size).astype(np.uint8) * 255)


def pool(pixels: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """Returns whether any pixel is set, for each square of `side` pixels."""
    rows, columns = pixels.shape
    padded = np.pad(pixels, ((0, -rows % side), (0, -columns % side)))
    squares = padded.reshape(padded.shape[0] // side, side, padded.shape[1] // side, side)
    any_set: NDArray[np.bool_] = np.any(squares, axis=(1, 3))
    return any_set


def repeat_pixels(pixels: NDArray[np.bool_], side: int, size: Size) -> NDArray[np.bool_]:
    return pixels.repeat(side, axis=0).repeat(side, axis=1)[: size[1], : size[0]]


def fill_from_surroundings(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Returns the picture with the blurred colours around the mask under it; see FILL_BLURS."""
    surroundings = Image.new("RGBa", image.size)
    surroundings.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask))
    filled = Image.new("RGBA", image.size)
    for radius, repeats in FILL_BLURS:
        blurred = surroundings.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(repeats):
            filled.alpha_composite(blurred)
    return filled.convert("RGB")


def paste(picture: Image.Image, image: Image.Image, box: Box, mask: Image.Image) -> Image.Image:
    """Returns the picture with an image in `box`, as far as the mask says, which has the size of the picture."""
    size = box[2] - box[0], box[3] - box[1]
    fitted = image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)
    pasted = picture.copy()
    pasted.paste(fitted, box, mask.crop(box))
    return pasted


def apply_latent_fill(scheduler: Scheduler, request: GenerationRequest, plan: InpaintingPlan) -> None:
    """Makes a job's pipeline start from noise or from nothing under the mask, if the request says so.

    Pipelines add the noise that they begin with by a method of the scheduler, which gets the start image's latents, of
    shape (n, ..., rows, columns). When they call it again, for the latents around the mask, what is under it has no
    effect.
    """
    draws: Mapping[MaskFill, Callable[[Tensor], Tensor]] = {
        "noise": partial(draw_noise, derive_seeds(request)),
        "nothing": torch.zeros_like,
    }
    draw = draws.get(request.mask_fill)
    for name in ("add_noise", "scale_noise"):
        method = getattr(scheduler, name, None)
        if draw is not None and method is not None:
            setattr(scheduler, name, replace_latents(method, plan.painted, draw))


def draw_noise(seeds: Sequence[int], latents: Tensor) -> Tensor:
    """Returns noise in the shape of latents, whose rows are the pictures of the seeds."""
    noise: Tensor = randn_tensor(tuple(latents.shape), create_generators(seeds), latents.device, latents.dtype)
    return noise


def replace_latents(
    add_noise: Callable[..., Tensor], painted: Image.Image, draw: Callable[[Tensor], Tensor]
) -> Callable[..., Tensor]:
    """Returns a function like `add_noise`, for latents with those that `draw` returns where `painted` is 255."""

    def add_noise_to_others(latents: Tensor, *args: object, **options: object) -> Tensor:
        if latents.ndim > 3:  # Packed ones are around the mask.
            rows, columns = latents.shape[-2:]
            mask = torch.from_numpy(np.asarray(painted.resize((columns, rows), Image.Resampling.NEAREST)) > 0)
            latents = torch.where(mask.to(latents.device), draw(latents), latents)
        return add_noise(latents, *args, **options)

    return add_noise_to_others
