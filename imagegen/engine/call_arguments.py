"""The arguments with which a job's pipeline is called, except for the prompts and the callback."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import torch
from PIL import Image

from imagegen.engine.families.base import ModelFamily
from imagegen.engine.protocols import Pipeline
from imagegen.engine.stages import Stage
from imagegen.errors import InvalidRequest
from imagegen.schema.markers import ImageMode
from imagegen.schema.request import INPUT_IMAGES, GenerationRequest
from imagegen.schema.seeds import derive_seeds

# The fewest pixels of a side of a reference picture that a model looks at itself, and the most of its length to width.
MIN_REFERENCE_SIDE = 64
MAX_REFERENCE_RATIO = 8
# The pipelines' arguments for input pictures.
IMAGE_ARGUMENTS: Mapping[ImageMode, str] = {"rgb": "image", "mask": "mask_image"}


def create_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """Returns a generator for each seed, on the CPU: its numbers are the same on each machine."""
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def build_call_arguments(
    request: GenerationRequest,
    stage: Stage,
    pipeline: Pipeline,
    family: ModelFamily,
    input_images: Mapping[str, Image.Image],
) -> dict[str, object]:
    """Returns the arguments for a stage. `input_images` are pictures by the request's field that names them.

    Raises InvalidRequest for a reference picture that the model cannot look at.
    """
    assert request.steps is not None and request.guidance_scale is not None
    assert request.width is not None and request.height is not None
    accepted, size = get_parameters(type(pipeline).__call__), (request.width, request.height)
    return {
        **family.build_step_arguments(pipeline, request.steps),
        "generator": create_generators(derive_seeds(request)),
        "output_type": "pt",
        **family.build_guidance_arguments(request.guidance_scale),
        **{name: value for name, value in family.build_size_arguments(size).items() if name in accepted},
        **add_references(build_image_arguments(request, stage, family, input_images), request, family, input_images),
        **build_strength_arguments(request, pipeline),
    }


def build_image_arguments(
    request: GenerationRequest, stage: Stage, family: ModelFamily, input_images: Mapping[str, Image.Image]
) -> dict[str, object]:
    """Returns the input pictures of a stage, cropped to the shape of the request's picture."""
    assert request.width is not None and request.height is not None
    size = request.width, request.height
    images = {
        IMAGE_ARGUMENTS[INPUT_IMAGES[field].mode]: family.fit_image(input_images[field], size)
        for field in stage.input_images
    }
    # Some pipelines with a strength expect as many images as seeds.
    copies = len(request.prompts)
    return {name: image if request.strength is None else [image] * copies for name, image in images.items()}


def add_references(
    arguments: Mapping[str, object],
    request: GenerationRequest,
    family: ModelFamily,
    input_images: Mapping[str, Image.Image],
) -> dict[str, object]:
    """Returns the arguments with the reference pictures after the start image, for a model that looks at them itself.

    Raises InvalidRequest for a picture that such a model cannot look at.
    """
    if family.facts.ip_adapters or not request.references:
        return dict(arguments)
    places = [f"references[{number}].image" for number in range(len(request.references))]
    for place in places:
        check_proportions(input_images[place], place)
    start = [arguments["image"]] if "image" in arguments else []
    return {**arguments, "image": [*start, *(input_images[place] for place in places)]}


def check_proportions(image: Image.Image, place: str) -> None:
    """Raises InvalidRequest for a picture that is too small or too long: the limits are those of FLUX.2's pipeline."""
    if min(image.size) < MIN_REFERENCE_SIDE:
        raise InvalidRequest(place, f"must be at least {MIN_REFERENCE_SIDE} pixels wide and high")
    if max(image.size) > MAX_REFERENCE_RATIO * min(image.size):
        raise InvalidRequest(place, f"must be at most {MAX_REFERENCE_RATIO} times as long as it is wide")


def build_strength_arguments(request: GenerationRequest, pipeline: Pipeline) -> dict[str, object]:
    """Returns the strength of a request that has one, and the number of steps that goes with it."""
    assert request.steps is not None
    if request.strength is None:
        return {}
    max_steps = pipeline.scheduler.config["num_train_timesteps"]
    steps, strength = fit_schedule(request.steps, request.strength, max_steps)
    return {"num_inference_steps": steps, "strength": strength}


@cache
def get_parameters(function: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def fit_schedule(steps: int, strength: float, max_steps: int) -> tuple[int, float]:
    """Returns steps and strength for an image-to-image pipeline, which runs int(steps * strength) of the steps.

    Where that would be none, the schedule gets so fine that only its last step runs, which starts at `strength`.
    """
    if int(steps * strength) > 0:
        return steps, strength
    finer_steps = math.ceil(min(1 / strength, max_steps))  # The quotient may be infinite.
    return finer_steps, 1.5 / finer_steps
