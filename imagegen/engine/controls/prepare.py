"""Prepares the controls of a stage: their maps in its size, and the check that each ControlNet fits the denoiser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from imagegen.engine.batching.network import BatchedNetwork
from imagegen.engine.controls.job_controls import JobControls
from imagegen.engine.controls.kind import Control
from imagegen.engine.controls.kinds import get_kind
from imagegen.engine.controls.loading import share_with_denoiser
from imagegen.engine.models.loaded import LoadedModel
from imagegen.engine.models.network_cache import LoadedNetwork
from imagegen.engine.preprocessors.networks import make_control_map
from imagegen.engine.protocols import Pipeline, get_vae_scale_factor
from imagegen.engine.run_loop import run_in_thread, wait_for
from imagegen.errors import InvalidRequest, ModelLoadFailed
from imagegen.media.control_maps.preprocessors import PREPROCESSORS, fit_picture
from imagegen.schema.controls import LEARNED_PREPROCESSORS
from imagegen.schema.request import GenerationRequest
from imagegen.schema.sizes import Box, Size


def prepare_controls(
    request: GenerationRequest,
    model: LoadedModel,
    pipeline: Pipeline,
    controlnets: Sequence[LoadedNetwork],
    preprocessors: Sequence[LoadedNetwork],
    input_images: Mapping[str, Image.Image],
    box: Box | None,
) -> JobControls:
    """Returns the controls of a stage. Other jobs go on while maps are made.

    `preprocessors` are those of the controls whose preprocessor is a network, in their order. `input_images` are
    pictures by place. `box` is the part of the picture that is painted, None for all of it.
    Raises InvalidRequest for a model whose networks are not shared, and ModelLoadFailed for a ControlNet that does not
    fit.
    """
    assert request.width is not None and request.height is not None
    if request.controls and model.shared_networks is None:
        raise InvalidRequest("controls", "cannot be used with a model that shares a small GPU (low_memory)")
    size = request.width, request.height
    controls, networks = [], iter(preprocessors)
    for number, (use, controlnet) in enumerate(zip(request.controls, controlnets, strict=True)):
        kind = get_kind(controlnet.network)
        try:
            kind.check(controlnet.network, model.denoiser, get_vae_scale_factor(pipeline))
        except ValueError as error:
            raise ModelLoadFailed(controlnet.source.name, f"it does not fit the model: {error}") from None
        image = input_images[f"controls[{number}].image"]
        make = PREPROCESSORS[use.preprocessor].make
        fitted = fit_picture(image, size)
        own = list(islice(networks, LEARNED_PREPROCESSORS.get(use.preprocessor, 0)))
        control_map = make_control_map(own, fitted) if make is None else make_in_thread(make, fitted)
        pixels = read_pixels(control_map, size, box)
        parameter = next(controlnet.network.parameters())
        condition = kind.build_condition(pixels.to(parameter), controlnet.network, model.family, pipeline)
        controls.append(
            Control(
                use,
                kind,
                controlnet.network,
                get_shared(controlnet, model),
                model.denoiser,
                pipeline,
                condition.to(parameter),
                controlnet.source.control_types.index(use.control_type) if use.control_type is not None else None,
            )
        )
    return JobControls(controls, pipeline, len(request.prompts))


def get_shared(controlnet: LoadedNetwork, model: LoadedModel) -> BatchedNetwork:
    """Returns the calls of a ControlNet that jobs with this model share."""
    if controlnet.shared is not None:
        return controlnet.shared
    shared = controlnet.shared_by_denoiser
    if model.denoiser not in shared:
        shared[model.denoiser] = share_with_denoiser(controlnet.network, model.denoiser, model.denoiser_patcher)
    return shared[model.denoiser]


def make_in_thread(make: Callable[[Image.Image], Image.Image], image: Image.Image) -> Image.Image:
    """Returns the control map of a picture. Other jobs go on meanwhile."""
    return wait_for(run_in_thread(partial(make, image)))


def read_pixels(control_map: Image.Image, size: Size, box: Box | None) -> Tensor:
    """Returns a control map as numbers in 0..1, of shape (1, 3, height, width); if there is a `box`, only that part.

    The part is enlarged to `size`.
    """
    if box is not None and box != (0, 0, *size):
        control_map = control_map.resize(size, Image.Resampling.BILINEAR, box)
    return torch.from_numpy(np.asarray(control_map, dtype=np.float32) / 255).permute(2, 0, 1).unsqueeze(0)
