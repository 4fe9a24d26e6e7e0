"""The size of a picture that is painted from another one, where a request leaves it open."""

from __future__ import annotations

from math import sqrt

from imagegen.schema import outpainting
from imagegen.schema.field_types import MIN_SIDE
from imagegen.schema.models import ModelInfo
from imagegen.schema.request import GenerationRequest
from imagegen.schema.sizes import Size
from imagegen.schema.tasks import TaskName


def choose_size(request: GenerationRequest, start_size: Size, model: ModelInfo) -> Size:
    """Returns width and height in pixels, for the size of the start image."""
    if request.task == "outpainting":
        return outpainting.choose_size(request, start_size, model.can.multiple, model.can.max_side)
    return fit_size(start_size, request.task, model)


def fit_size(start_size: Size, task: TaskName, model: ModelInfo) -> Size:
    """Returns the start image's own size for inpainting, which keeps its pixels, if the model can make it.

    In all other cases the size has its proportions, and about as many pixels as the model's own.
    """
    if task == "inpainting" and all(round_to_allowed_side(side, model) == side for side in start_size):
        return start_size
    return fit_sides(start_size[0] / start_size[1], model.width * model.height, model)


def fit_sides(aspect_ratio: float, pixels: float, model: ModelInfo) -> Size:
    """Returns the width and height that the model can make with about this aspect ratio and number of pixels."""
    width = sqrt(pixels * aspect_ratio)
    return round_to_allowed_side(width, model), round_to_allowed_side(width / aspect_ratio, model)


def round_to_allowed_side(side: float, model: ModelInfo) -> int:
    step = model.can.multiple
    return int(min(max(round(side / step) * step, MIN_SIDE), model.can.max_side))
